"""The straight line between two models' weights: against loops in float64 over weights that were loaded plainly."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from core.lm import adapter, weight_line
from core.lm.errors import CoreError
from core.lm.model import load
from core.lm.saving import save
from core.lm.weight_line import WeightLine
from core.schema.training import Lora
from tests.unit.lm.adapter_families import FAMILIES
from tests.unit.lm.tiny import tiny_model, tiny_tokenizer

CPU = torch.device("cpu")


def noisy(model, seed=5, size=0.05):
    """Changes every weight a little, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(size * torch.randn(weight.shape, generator=generator).to(weight.dtype))
    return model


def pair(directory, model):
    """Saves a model in shards. Returns it as it is loaded, and a changed one that was loaded from the same files."""
    model.save_pretrained(directory, max_shard_size="10KB")
    tiny_tokenizer().save_pretrained(directory)
    return load(directory, device=CPU)[0], noisy(load(directory, device=CPU)[0])


def naive_squares(first, second):
    """Returns ‖first - second‖² and ‖second‖², one element after the other."""
    pairs = list(zip(first.double().flatten().tolist(), second.double().flatten().tolist(), strict=True))
    return sum((one - other) ** 2 for one, other in pairs), sum(other**2 for _, other in pairs)


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "falcon", "mixtral", "qwen2_moe", "deepseek_v3", "gpt_oss", "mamba", "zamba2"]
)
def test_distances_and_places_on_the_line_are_those_of_the_loaded_weights(tmp_path, family, monkeypatch):
    monkeypatch.setattr(weight_line, "_PIECE", 100)
    torch.manual_seed(0)
    original, model = pair(
        tmp_path / "given", AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **FAMILIES[family]))
    )
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    ends = dict(original.named_parameters())
    line = WeightLine(model, tmp_path / "given")
    squares = line.squares()
    assert squares.keys() == ends.keys()
    for name, weight in squares.items():
        assert (weight.difference, weight.end) == pytest.approx(naive_squares(before[name], ends[name]), rel=1e-6)
    for start, to in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75)):
        line.move(start=start, to=to)
        for name, weight in model.named_parameters():
            expected = (1 - to) * before[name].double() + to * ends[name].double()
            torch.testing.assert_close(weight.detach().double(), expected, rtol=0, atol=1e-6)
    line.move(start=0.75, to=1.0)
    assert all(weight.equal(ends[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize(
    ("stored", "held"),
    [
        (torch.float16, "float32"),
        (torch.bfloat16, "float32"),
        (torch.float32, "float32"),
        (torch.bfloat16, "bfloat16"),
    ],
)
def test_files_and_weights_of_any_dtype_have_a_distance(tmp_path, stored, held):
    save(tiny_model(dtype=stored), tiny_tokenizer(), tmp_path / "given", "card")
    model = noisy(load(tmp_path / "given", device=CPU, weights=held)[0], size=0.25)
    ends = dict(load(tmp_path / "given", device=CPU)[0].named_parameters())
    weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    line = WeightLine(model, tmp_path / "given")
    for name, weight in line.squares().items():
        assert (weight.difference, weight.end) == pytest.approx(naive_squares(weights[name], ends[name]), rel=1e-6)
    line.move(start=0.0, to=1.0)
    assert all(weight.float().equal(ends[name]) for name, weight in model.named_parameters())


def test_a_model_on_its_own_files_is_at_no_distance_and_does_not_move(tmp_path):
    save(tiny_model(dtype=torch.bfloat16), tiny_tokenizer(), tmp_path / "given", "card")
    model, _ = load(tmp_path / "given", device=CPU)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    line = WeightLine(model, tmp_path / "given")
    assert {weight.difference for weight in line.squares().values()} == {0.0}
    line.move(start=0.0, to=0.25)
    assert all(weight.equal(before[name]) for name, weight in model.named_parameters())


def test_a_weight_that_embedding_and_head_share_is_counted_and_moved_once(tmp_path):
    original, model = pair(tmp_path / "given", tiny_model(dtype=torch.float32, tied=True))
    shared = "model.embed_tokens.weight"
    before, end = model.get_parameter(shared).detach().clone(), original.get_parameter(shared)
    line = WeightLine(model, tmp_path / "given")
    assert [name for name in line.squares() if name in (shared, "lm_head.weight")] == [shared]
    line.move(start=0.0, to=0.5)
    torch.testing.assert_close(model.lm_head.weight, (before + end) / 2)


def test_a_merged_adapter_is_a_distance_of_the_weights_beside_which_it_lay(tmp_path):
    save(tiny_model(dtype=torch.float32), tiny_tokenizer(), tmp_path / "given", "card")
    model, _ = load(tmp_path / "given", device=CPU)
    torch.manual_seed(0)
    adapter.attach(model, Lora(rank=2, modules=["q_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    adapter.merge(model)
    squares = WeightLine(model, tmp_path / "given").squares()
    assert {name.split(".")[-2] for name, weight in squares.items() if weight.difference > 0} == {"q_proj"}


def test_files_of_another_model_are_refused(tmp_path):
    save(tiny_model(dtype=torch.float32), tiny_tokenizer(), tmp_path / "given", "card")
    shape = {"vocab_size": 97, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    wider = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("llama", hidden_size=32, intermediate_size=32, **shape)
    )
    with pytest.raises(CoreError, match="weights_of_another_shape"):
        WeightLine(wider, tmp_path / "given").squares()
    for layers, code in ((3, "weights_not_in_files"), (1, "weights_left_over")):
        config = AutoConfig.for_model(
            "llama", hidden_size=16, intermediate_size=32, **{**shape, "num_hidden_layers": layers}
        )
        with pytest.raises(CoreError, match=code):
            WeightLine(AutoModelForCausalLM.from_config(config), tmp_path / "given").squares()


def test_masks_in_the_files_are_no_weights(tmp_path):
    config = AutoConfig.for_model("gpt2", **FAMILIES["gpt2"])
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "given")
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    weights = load_file(tmp_path / "given/model.safetensors")
    masks = {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in range(2)}
    save_file(weights | masks, tmp_path / "given/model.safetensors", metadata={"format": "pt"})
    model, _ = load(tmp_path / "given", device=CPU)
    squares = WeightLine(model, tmp_path / "given").squares()
    assert squares.keys() == dict(model.named_parameters()).keys()
