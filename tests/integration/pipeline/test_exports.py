"""Models written by transformers 4.57, loaded, changed and exported here: transformers 4.57 and 5 read the same model.

Each version of transformers reads the checkpoint in a process of its own.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.demo.pretraining import train_tokenizer
from core.lm.errors import CoreError
from core.lm.model import load
from core.lm.saving import export
from core.lm.weight_conversion import Origins
from core.pipeline.run import Run
from core.schema.events import ChildEvent, Measured, Warned
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from tests.integration.pipeline.child import run as run_job
from tests.plain_transformers import Major, run
from tests.tiny_model import TinyModel

VOCABULARY = 400
ROWS = [[3, 17, 255, 4, 9, 33, 128, 5, 71, 2, 390, 64] * 4, [5, 6, 7]]
TEXT = "Born 12/31/1999 in São Paulo, isn't at me@example.org.\n\n  你好 "

WRITE = """
import json, sys
from pathlib import Path
import torch
from transformers import (
    AutoModelForCausalLM, PreTrainedTokenizerFast,
    GPT2Config, LlamaConfig, MixtralConfig, Phi3Config, Qwen2Config, Qwen2MoeConfig,
)

root, tokenizer, vocabulary = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sizes = dict(
    vocab_size=vocabulary, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2, bos_token_id=1, eos_token_id=2,
    pad_token_id=0,
)
llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)
experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, shared_expert_intermediate_size=16)
configs = {
    "llama3": LlamaConfig(rope_theta=500000.0, rope_scaling=llama3, **sizes),
    "llama-bfloat16": LlamaConfig(rope_theta=500000.0, tie_word_embeddings=True, **sizes),
    "mixtral": MixtralConfig(rope_theta=1e6, num_local_experts=4, num_experts_per_tok=2, **sizes),
    "qwen2_moe": Qwen2MoeConfig(rope_theta=1e6, **experts, **sizes),
    "qwen2": Qwen2Config(rope_theta=1e6, tie_word_embeddings=True, **sizes),
    "phi3": Phi3Config(rope_theta=20000.0, **sizes),
    "gpt2": GPT2Config(vocab_size=vocabulary, n_positions=128, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2,
                       bos_token_id=1, eos_token_id=2),
}
for name, config in configs.items():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    if name in ("llama-bfloat16", "qwen2_moe"):
        model.to(torch.bfloat16)
    model.save_pretrained(root / name, max_shard_size="20KB" if name in ("mixtral", "gpt2") else "1GB")
    fast = PreTrainedTokenizerFast(tokenizer_file=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    fast.save_pretrained(root / name)
    (root / name / "LICENSE").write_text("of " + name)
file = root / "qwen2" / "tokenizer_config.json"
file.write_text(json.dumps(json.loads(file.read_text()) | {"tokenizer_class": "Qwen2Tokenizer"}))
"""

READ = """
import json, sys
import numpy, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

directories, rows, text, out = json.loads(sys.argv[1])
torch.set_num_threads(1)
logits, tokens = {}, {}
for name, directory in directories.items():
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        for place, row in enumerate(rows):
            logits[f"{name}/{place}"] = model(input_ids=torch.tensor([row]), use_cache=False).logits[0].numpy()
    tokens[name] = AutoTokenizer.from_pretrained(directory)(text)["input_ids"]
numpy.savez(out, **logits)
print(json.dumps(tokens))
"""

NAMES = ["llama3", "llama-bfloat16", "mixtral", "qwen2_moe", "qwen2", "phi3", "gpt2"]


@dataclass(frozen=True)
class Exported:
    """The source directory, the exported directory, and the service's model between the two."""

    source: Path
    out: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def logits(self) -> list[np.ndarray]:
        with torch.no_grad():
            return [self.model(input_ids=torch.tensor([row])).logits[0].numpy() for row in ROWS]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Models that 4.57 wrote, two with float32 norms and routers beside bfloat16, exported after all weights moved."""
    folder = tmp_path_factory.mktemp("exports")
    train_tokenizer(people(30, 0), VOCABULARY).save_pretrained(folder / "tokenizer")
    run(WRITE, str(folder), str(folder / "tokenizer/tokenizer.json"), str(VOCABULARY), major=4)
    exports = {}
    for name in NAMES:
        source, out = folder / name, folder / f"{name}-out"
        if name in ("llama-bfloat16", "qwen2_moe"):
            _cast_some_to_float32(source / "model.safetensors")
        model, tokenizer = load(source, device=torch.device("cpu"))
        torch.manual_seed(1)
        with torch.no_grad():
            for weight in model.parameters():
                moved = weight + 0.05 * torch.randn_like(weight)
                # values that the files hold exactly give comparable logits
                weight.copy_(moved.bfloat16().float())
        export(model, source, out, "card")
        exports[name] = Exported(source, out, model, tokenizer)
    return exports


def _cast_some_to_float32(file: Path) -> None:
    weights = load_file(file)
    float32 = {name: weight.float() for name, weight in weights.items() if "norm" in name or "mlp.gate.weight" in name}
    save_file(weights | float32, file, metadata={"format": "pt"})


@pytest.mark.parametrize("major", [4, 5])
def test_plain_transformers_reads_an_export_as_the_services_own_model(
    exported: dict[str, Exported], major: Major, tmp_path: Path
) -> None:
    directories = {name: str(export.out) for name, export in exported.items()}
    out = tmp_path / "logits.npz"
    printed = run(READ, json.dumps([directories, ROWS, TEXT, str(out)]), major=major)
    tokens = json.loads(printed.splitlines()[-1])
    with np.load(out) as plain:
        for name, export in exported.items():
            for place, logits in enumerate(export.logits()):
                np.testing.assert_allclose(plain[f"{name}/{place}"], logits, rtol=1e-5, atol=1e-5, err_msg=name)
            if not (major == 5 and name == "qwen2"):  # transformers 5 rebuilds it with another splitter
                assert tokens[name] == export.tokenizer(TEXT)["input_ids"], name


@pytest.mark.parametrize("name", NAMES)
def test_everything_but_the_weights_is_as_in_the_source(exported: dict[str, Exported], name: str) -> None:
    source, out = exported[name].source, exported[name].out
    files = {path.name for path in source.iterdir()}
    assert {path.name for path in out.iterdir()} == files | {"UNLEARNING.md"}
    assert {"LICENSE", "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"} < files
    for path in source.iterdir():
        if path.suffix != ".safetensors":
            assert (out / path.name).read_bytes() == path.read_bytes()
        else:
            old, new = load_file(path), load_file(out / path.name)
            assert {key: (weight.dtype, weight.shape) for key, weight in old.items()} == {
                key: (weight.dtype, weight.shape) for key, weight in new.items()
            }


def test_a_job_on_chosen_weights_changes_them_alone_and_leaves_out_files_with_old_weights(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    source, chosen = tmp_path / "source", "model.layers.1.mlp.down_proj.weight"
    source.mkdir()
    for path in tiny_model.directory.iterdir():
        (source / path.name).symlink_to(path)
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    weights = {name: weight if "norm" in name else weight.bfloat16() for name, weight in weights.items()}
    save_file(weights, source / "model.safetensors", metadata={"format": "pt", "made": "by a team"})
    (source / "pytorch_model.bin").write_bytes(b"the old model")
    outcome = run_job(
        spec.model_copy(
            update={
                "directory": source,
                "method": ChildMethod(name="gradient_ascent", parameters={}),
                "records": FileRecords(forget=tiny_model.files["forget"]),
                "training": spec.training.model_copy(update={"trainable": [chosen]}),
            }
        )
    )
    assert outcome.code == 0, outcome.stderr
    after = load_file(spec.output / "model.safetensors")
    assert [name for name in weights if not weights[name].equal(after[name])] == [chosen]
    assert {name: weight.dtype for name, weight in weights.items()} == {
        name: weight.dtype for name, weight in after.items()
    }
    assert (spec.output / "README.md").read_bytes() == (tiny_model.directory / "README.md").read_bytes()
    assert (spec.output / "config.json").read_bytes() == (tiny_model.directory / "config.json").read_bytes()
    assert not (spec.output / "pytorch_model.bin").exists()
    assert "pytorch_model.bin" in (spec.output / "UNLEARNING.md").read_text()
    (warning,) = [event for event in outcome.events if isinstance(event, Warned) and event.code == "files_left_out"]
    assert "pytorch_model.bin" in warning.message


def test_a_model_that_cannot_be_exported_is_refused_before_measuring(
    spec: UnlearnSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CoreError("weights_not_in_files", "the model's files hold no tensor for model.norm.weight")

    monkeypatch.setattr(Origins, "_refuse_uncovered", refuse)
    events: list[ChildEvent] = []
    with pytest.raises(CoreError, match="weights_not_in_files"):
        Run(spec, events.append, lambda: False, lambda: False, began=time.monotonic())()
    assert not any(isinstance(event, Measured) for event in events)
