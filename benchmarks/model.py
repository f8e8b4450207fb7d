"""The models that are measured: random weights, the same for both sides, and a tokenizer to which a word is a token."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.case import FULL, SHAPES, Case
from core.lm.flops import ModelFlops

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 FLOP/s of the SXM cards, from their data sheets."""


def build_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = {"<eos>": 0, "<pad>": 1} | {f"w{number}": number + 2 for number in range(vocabulary - 2)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))  # noqa: S106 - a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")  # noqa: S106


def build_model(case: Case, device: torch.device) -> PreTrainedModel:
    """Returns the case's model on `device`; the same seed on the same kind of device gives the same model."""
    torch.manual_seed(case.seed)
    config = LlamaConfig(
        vocab_size=case.vocabulary,
        max_position_embeddings=FULL,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
        **SHAPES[case.shape],
    )
    dtype = torch.bfloat16 if case.weights == "bfloat16" else torch.float32
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model: PreTrainedModel = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.config.dtype = dtype
    return model.eval()


def flops_per_token(model: PreTrainedModel) -> tuple[float, float]:
    """Returns the model FLOPs of a token in an update, and the further FLOPs per token of its record's length.

    The reference model's forward, a second forward and recomputed activations do not count.
    """
    flops = ModelFlops.of(model)
    return flops.update(1, 0), flops.update(0, 1)


def peak_flops(device: torch.device) -> float | None:
    """Returns the peak FLOPs per second of the device in bfloat16; None if it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for card, peak in PEAKS.items() if card in name), None)
