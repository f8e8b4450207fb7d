"""A model merged from adapter and base: peft's own predictions, and the base's bytes elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from core.lm.adapter_merging import merge
from core.lm.model import load
from core.schema.model_files import UnusableModel
from tests.unit.lm.tiny import VOCABULARY, tiny_model, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft's

CPU = torch.device("cpu")
PROMPT = torch.arange(3, 15)[None]


def save_base(model: PreTrainedModel, directory: Path, **options: Any) -> Path:
    model.save_pretrained(directory, **options)
    tiny_tokenizer().save_pretrained(directory)
    (directory / "LICENSE").write_text("as it came")
    return directory


def save_adapter(base: Path, directory: Path, **config: Any) -> Path:
    """Saves an adapter that changes the model's predictions, by peft."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **{"r": 4, **config}))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if weight.requires_grad and "lora_A" not in name:
                weight.add_(torch.randn(weight.shape) * 0.1)
    adapted.save_pretrained(directory)
    return directory


def logits_of(directory: Path) -> torch.Tensor:
    return load(directory, device=CPU)[0](PROMPT).logits


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "up_proj"], "lora_alpha": 32, "rank_pattern": {"up_proj": 2}},
        {"target_modules": ["q_proj", "k_proj"], "alpha_pattern": {"layers.1.self_attn.k_proj": 64}},
        {"target_modules": ["o_proj"], "use_rslora": True},
        {"target_modules": ["v_proj"], "modules_to_save": ["lm_head", "embed_tokens"]},
    ],
)
def test_the_merged_model_predicts_what_peft_predicts(tmp_path, config):
    base = save_base(tiny_model(dtype=torch.float32), tmp_path / "base", max_shard_size="10KB")
    assert len(list(base.glob("*.safetensors"))) > 1
    adapter = save_adapter(base, tmp_path / "adapter", **config)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = plain(PROMPT).logits
    expected = PeftModel.from_pretrained(plain, adapter)(PROMPT).logits
    merge(adapter, base, tmp_path / "merged")
    torch.testing.assert_close(logits_of(tmp_path / "merged"), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, expected, atol=1e-2)


def test_matrices_that_are_stored_transposed_are_merged_transposed(tmp_path):
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=VOCABULARY, eos_token_id=1)
    base = save_base(GPT2LMHeadModel(config), tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merge(adapter, base, tmp_path / "merged")
    expected = PeftModel.from_pretrained(plain, adapter)(PROMPT).logits
    torch.testing.assert_close(logits_of(tmp_path / "merged"), expected, rtol=1e-4, atol=1e-4)


def test_weights_without_adapter_and_other_files_are_the_bases_byte_for_byte(tmp_path):
    base = save_base(tiny_model(dtype=torch.bfloat16), tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    (adapter / "chat_template.jinja").write_text("{{ messages }}")
    merge(adapter, base, tmp_path / "merged")
    for name in ("config.json", "generation_config.json", "tokenizer.json", "LICENSE"):
        assert (tmp_path / "merged" / name).read_bytes() == (base / name).read_bytes()
    assert (tmp_path / "merged/chat_template.jinja").read_text() == "{{ messages }}"
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "merged"))
    for name, weight in before.items():
        assert after[name].dtype == torch.bfloat16
        assert after[name].equal(weight) == ("q_proj" not in name), name


def spoil(adapter: Path, how: str) -> None:
    config = json.loads((adapter / "adapter_config.json").read_text())
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(weights))
    match how:
        case "another model":
            weights = {key.replace("q_proj", "query"): weight for key, weight in weights.items()}
        case "another size":
            weights = {key: torch.ones(4, 8) if "lora_A" in key else weight for key, weight in weights.items()}
        case "half":
            del weights[name]
        case "another kind":
            config["peft_type"] = "IA3"
        case "dora":
            config["use_dora"] = True
        case "changed base":
            config["init_lora_weights"] = "pissa"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    save_file(weights, adapter / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("another model", "self_attn.query.weight"),
        ("another size", "the base has [16, 16]"),
        ("half", "half of what belongs to 'model.layers.0.self_attn.q_proj.weight'"),
        ("another kind", "peft_type IA3"),
        ("dora", "use_dora"),
        ("changed base", "pissa"),
    ],
)
def test_an_adapter_that_cannot_be_merged_exactly_is_refused_and_leaves_nothing(tmp_path, how, words):
    base = save_base(tiny_model(dtype=torch.float32), tmp_path / "base")
    adapter = save_adapter(base, tmp_path / "adapter", target_modules=["q_proj"])
    spoil(adapter, how)
    with pytest.raises(UnusableModel) as caught:
        merge(adapter, base, tmp_path / "merged")
    assert words in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"base", "adapter"}


def test_a_head_that_is_the_embedding_takes_no_adapter_of_its_own(tmp_path):
    base = save_base(tiny_model(dtype=torch.float32, tied=True), tmp_path / "base")
    weights = {"base_model.model.lm_head.lora_A.weight": torch.ones(4, 16)}
    weights["base_model.model.lm_head.lora_B.weight"] = torch.ones(VOCABULARY, 4)
    (tmp_path / "adapter").mkdir()
    save_file(weights, tmp_path / "adapter/adapter_model.safetensors")
    (tmp_path / "adapter/adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(UnusableModel, match="shares its weight"):
        merge(tmp_path / "adapter", base, tmp_path / "merged")
