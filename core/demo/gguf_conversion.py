"""Converts a GGUF file to an ordinary model directory: weights in safetensors, tokenizer, chat template.

    python -m core.demo.gguf_conversion --gguf MODEL.gguf --out DIR

Quantised weights become float32 weights of the same values. transformers reads the file with the package `gguf`, which
must be on this process's path.
"""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging as transformers_logging

from core.lm.saving import save


def convert(gguf: Path, directory: Path) -> None:
    """Writes the model of a GGUF file as a Hugging Face model directory, which must be absent or empty.

    Raises what transformers raises of a file that it cannot read, and CoreError `output_not_empty`.
    """
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    save(model, tokenizer, directory, f"# {gguf.stem}\n\nThe weights of `{gguf.name}`, as float32.\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m core.demo.gguf_conversion")
    parser.add_argument("--gguf", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    transformers_logging.disable_progress_bar()
    with redirect_stdout(sys.stderr):
        convert(arguments.gguf, arguments.out)


if __name__ == "__main__":
    main()
