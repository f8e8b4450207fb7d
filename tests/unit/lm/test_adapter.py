import json

import pytest
import torch
from peft import PeftModel
from torch import nn

from core.lm import adapter, targets
from core.lm.errors import CoreError
from core.schema.training import Lora
from tests.unit.lm.tiny import tiny_model

IDS = torch.arange(3, 15)[None]


def moved(**choice):
    """A model whose adapter has an effect."""
    model = tiny_model()
    adapter.attach(model, Lora(rank=4, **choice))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_an_adapter_starts_without_effect_and_is_all_that_trains():
    model = tiny_model()
    adapter.attach(model, Lora(rank=4))
    assert logits(model).equal(logits(tiny_model()))
    assert type(model) is type(tiny_model())
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2 * 7  # two halves in both layers' seven products
    assert all("lora_" in name for name in trained)
    assert not any(module.training for module in model.modules())


def test_the_same_generator_state_draws_the_same_adapter():
    def drawn(seed):
        model = tiny_model()
        torch.manual_seed(seed)
        adapter.attach(model, Lora(rank=2))
        return [weight for weight in model.parameters() if weight.requires_grad]

    assert all(one.equal(other) for one, other in zip(drawn(1), drawn(1), strict=True))
    assert not all(one.equal(other) for one, other in zip(drawn(1), drawn(2), strict=True))


def test_an_adapter_is_float32_beside_bfloat16_weights():
    model = tiny_model(dtype=torch.bfloat16)
    adapter.attach(model, Lora(rank=4))
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}
    assert {weight.dtype for weight in model.parameters() if not weight.requires_grad} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("patterns", "count"), [(["q_proj"], 2), (["mlp.up_proj", "layers.1.self_attn.*"], 6), (["model.layers.0.*"], 7)]
)
def test_modules_are_chosen_by_name_end_of_name_or_wildcard(patterns, count):
    assert len(targets.find(tiny_model(), patterns).modules) == count


def test_modules_that_do_not_exist_are_named_with_what_is_near():
    with pytest.raises(CoreError, match=r"no_such_modules.*'qproj'.*q_proj") as caught:
        targets.find(tiny_model(), ["v_proj", "qproj"])
    assert caught.value.blame == "user"


@pytest.mark.parametrize("module", ["lm_head", "input_layernorm", "embed_tokens", "model.layers.0"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_head_and_what_is_no_linear_layer_are_refused(module, tied):
    with pytest.raises(CoreError, match=f"unsupported_modules.*'{module}'"):
        targets.find(tiny_model(tied=tied), [module])


def test_a_merged_adapter_leaves_a_plain_model_that_says_the_same():
    model = moved()
    wanted = logits(model)
    assert not torch.allclose(wanted, logits(tiny_model()), atol=1e-2)
    pairs = list(adapter.merged_weights(model))
    assert len(pairs) == 14
    adapter.merge(model)
    assert not adapter.attached(model)
    assert list(model.state_dict()) == list(tiny_model().state_dict())
    assert isinstance(model.model.layers[0].mlp.up_proj, nn.Linear)
    torch.testing.assert_close(logits(model), wanted, rtol=1e-9, atol=1e-9)
    now = {weight.data_ptr(): weight for weight in model.parameters()}
    assert all(now[before.data_ptr()].equal(merged) for before, merged in pairs)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks
def test_a_written_adapter_is_read_by_peft_and_names_its_base(tmp_path):
    model = moved(modules=["q_proj", "down_proj"])
    adapter.write(model, tmp_path, base="llama-tiny")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "llama-tiny"
    assert config["inference_mode"] is True
    assert "tmp" not in (tmp_path / "adapter_config.json").read_text()
    theirs = PeftModel.from_pretrained(tiny_model(), tmp_path).eval()
    torch.testing.assert_close(logits(theirs), logits(model), rtol=1e-6, atol=1e-6)
    ours = tiny_model()
    adapter.read(ours, tmp_path)
    assert logits(ours).equal(logits(theirs))


def test_an_adapter_that_cannot_be_read_is_an_error_without_its_path(tmp_path):
    adapter.write(moved(), tmp_path, base="llama-tiny")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CoreError, match="model_unreadable") as caught:
        adapter.read(tiny_model(), tmp_path)
    assert str(tmp_path) not in caught.value.message


def test_layers_of_gpt2_get_adapters_too():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_positions=64, n_embd=16, n_layer=2, n_head=2)).eval()
    before = logits(model)
    adapter.attach(model, Lora(rank=2))
    assert logits(model).equal(before)
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == 8


def test_an_adapter_of_another_model_is_not_half_read(tmp_path):
    adapter.write(moved(modules=["q_proj"]), tmp_path, base="llama-tiny")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["target_modules"] = ["k_proj"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CoreError, match="model_unreadable"):
        adapter.read(tiny_model(), tmp_path)
