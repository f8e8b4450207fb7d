import json

import pytest
import torch
from peft import LoraConfig, PeftModel
from torch import nn
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.models.deepseek_v4 import DeepseekV4Config, DeepseekV4ForCausalLM

from core.lm import adapter, adapter_targets
from core.lm.errors import CoreError
from core.preflight.parameter_counts import adapter_parameters
from core.schema.adapters import is_refused
from core.schema.model_shape import SINGLE, group_tensors
from core.schema.models import ModelShape
from core.schema.training import Lora
from core.schema.weight_files import read_header
from tests.unit.lm.adapter_families import FAMILIES, family
from tests.unit.lm.tiny import VOCABULARY, tiny_model

IDS = torch.arange(3, 15)[None]


def adapted_model(**options):
    """Returns a model whose adapter has an effect."""
    model = tiny_model()
    adapter.attach(model, Lora(rank=4, **options))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def test_an_adapter_starts_without_effect_and_nothing_else_is_trained():
    model = tiny_model()
    adapter.attach(model, Lora(rank=4))
    assert logits(model).equal(logits(tiny_model()))
    assert type(model) is type(tiny_model())
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2 * 7  # two matrices for each of both layers' seven products
    assert all("lora_" in name for name in trained)
    assert not any(module.training for module in model.modules())


def test_the_same_generator_state_draws_the_same_adapter():
    def adapter_weights(seed):
        model = tiny_model()
        torch.manual_seed(seed)
        adapter.attach(model, Lora(rank=2))
        return [weight for weight in model.parameters() if weight.requires_grad]

    assert all(left.equal(right) for left, right in zip(adapter_weights(1), adapter_weights(1), strict=True))
    assert not all(left.equal(right) for left, right in zip(adapter_weights(1), adapter_weights(2), strict=True))


def test_an_adapter_is_float32_beside_bfloat16_weights():
    model = tiny_model(dtype=torch.bfloat16)
    adapter.attach(model, Lora(rank=4))
    assert {weight.dtype for weight in model.parameters() if weight.requires_grad} == {torch.float32}
    assert {weight.dtype for weight in model.parameters() if not weight.requires_grad} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("patterns", "count"), [(["q_proj"], 2), (["mlp.up_proj", "layers.1.self_attn.*"], 6), (["model.layers.0.*"], 7)]
)
def test_modules_are_chosen_by_name_end_of_name_or_wildcard(patterns, count):
    assert len(adapter_targets.find_targets(tiny_model(), patterns).modules) == count


def test_modules_that_do_not_exist_are_named_with_similar_names():
    with pytest.raises(CoreError, match=r"no_such_modules.*'qproj'.*q_proj") as caught:
        adapter_targets.find_targets(tiny_model(), ["v_proj", "qproj"])
    assert caught.value.blame == "user"


@pytest.mark.parametrize("module", ["lm_head", "input_layernorm", "embed_tokens", "model.layers.0"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_head_and_modules_that_are_no_linear_layer_are_refused(module, tied):
    with pytest.raises(CoreError, match=f"unsupported_modules.*'{module}'"):
        adapter_targets.find_targets(tiny_model(tied=tied), [module])


def test_merging_leaves_a_plain_model_with_the_same_predictions():
    model = adapted_model()
    expected = logits(model)
    assert not torch.allclose(expected, logits(tiny_model()), atol=1e-2)
    pairs = list(adapter.merged_weights(model))
    assert len(pairs) == 14
    adapter.merge(model)
    assert not adapter.has_adapter(model)
    assert list(model.state_dict()) == list(tiny_model().state_dict())
    assert isinstance(model.model.layers[0].mlp.up_proj, nn.Linear)
    torch.testing.assert_close(logits(model), expected, rtol=1e-9, atol=1e-9)
    weights = {weight.data_ptr(): weight for weight in model.parameters()}
    assert all(weights[before.data_ptr()].equal(merged) for before, merged in pairs)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks
def test_a_written_adapter_is_read_by_peft_and_names_its_base(tmp_path):
    model = adapted_model(modules=["q_proj", "down_proj"])
    adapter.write(model, tmp_path, base="llama-tiny")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "llama-tiny"
    assert config["inference_mode"] is True
    assert "tmp" not in (tmp_path / "adapter_config.json").read_text()
    peft_model = PeftModel.from_pretrained(tiny_model(), tmp_path).eval()
    torch.testing.assert_close(logits(peft_model), logits(model), rtol=1e-6, atol=1e-6)
    read_model = tiny_model()
    adapter.read(read_model, tmp_path)
    assert logits(read_model).equal(logits(peft_model))


def test_an_adapter_that_cannot_be_read_is_an_error_without_its_path(tmp_path):
    adapter.write(adapted_model(), tmp_path, base="llama-tiny")
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
    adapter.write(adapted_model(modules=["q_proj"]), tmp_path, base="llama-tiny")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["target_modules"] = ["k_proj"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CoreError, match="model_unreadable"):
        adapter.read(tiny_model(), tmp_path)


def attach_with_effect(model, **options):
    """Attaches an adapter with an effect, and returns the reasons why parts have none."""
    left_out = adapter.attach(model, Lora(rank=2, **options))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return left_out


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks
@pytest.mark.parametrize("kind", list(FAMILIES))
def test_merged_delivered_and_attached_adapters_agree_and_the_estimate_counts_their_weights(kind, tmp_path):
    plain = logits(family(kind))
    model = family(kind)
    assert adapter.check(model, Lora(rank=2), delivered=True) == attach_with_effect(model)
    count = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    expected = logits(model)
    assert (expected - plain).abs().max() > 0.1 * plain.abs().max()
    adapter.write(model, tmp_path / "adapter", base="base")
    assert_close(logits(PeftModel.from_pretrained(family(kind), tmp_path / "adapter").eval()), expected)
    read_model = family(kind)
    adapter.read(read_model, tmp_path / "adapter")
    assert_close(logits(read_model), expected)
    for adapted in (model, read_model):
        adapter.merge(adapted)
        assert_close(logits(adapted), expected)
    assert model.state_dict().keys() == family(kind).state_dict().keys()

    family(kind).save_pretrained(tmp_path / "base")
    weights = read_header(tmp_path / "base" / SINGLE)
    shape = ModelShape(
        architecture=type(model).__name__,
        parameters=1,
        bytes=4,
        dtype="float32",
        hidden_size=32,
        layers=len(model.base_model.layers) if hasattr(model.base_model, "layers") else 2,
        heads=4,
        vocabulary=VOCABULARY,
        context=64,
        tied=True,
        tensors=group_tensors(weights),
    )
    assert adapter_parameters(shape, Lora(rank=2)) == count


def test_fused_experts_get_an_adapter_each_and_routers_none():
    model = family("mixtral")
    assert attach_with_effect(model) == {}
    names = {name for name, weight in model.named_parameters() if weight.requires_grad}
    experts = {name for name in names if "experts" in name}
    assert len(experts) == 2 * 2 * 2  # A and B for both weights in two layers
    assert not any("gate." in name or "router" in name for name in names)
    assert adapter_targets.name_patterns(
        adapter_targets.find_targets(family("mixtral"), ["experts.down_proj"]).names()
    ) == ["model.layers.*.mlp.experts.down_proj"]


def test_layers_that_share_a_weight_share_their_adapter():
    model = family("zamba2")
    assert attach_with_effect(model) == {}
    first, second = (model.model.layers[layer].shared_transformer.self_attn.q_proj for layer in (1, 3))
    assert first.lora_B["default"].weight is second.lora_B["default"].weight
    assert len(list(adapter.merged_weights(model))) < sum("lora_A" in name for name in model.state_dict())


def test_layers_that_share_a_weight_are_named():
    assert adapter_targets.shared_weight_names(adapter_targets.find_targets(tiny_model(tied=True), "all-linear")) == []
    names = adapter_targets.shared_weight_names(adapter_targets.find_targets(family("zamba2"), "all-linear"))
    assert "model.layers.*.shared_transformer.self_attn.q_proj" in names
    assert not any("mamba" in name for name in names)


def test_naming_one_of_two_layers_that_share_a_weight_is_refused():
    with pytest.raises(CoreError, match=r"unsupported_modules.*its weight is that of model\.layers\.3.*name both"):
        adapter.check(family("zamba2"), Lora(modules=["layers.1.shared_transformer.self_attn.q_proj"]))


def test_a_weight_that_a_model_reads_past_its_adapter_is_left_out_with_the_reason_or_refused_by_name():
    left_out = attach_with_effect(family("mamba"))
    assert {name.rpartition(".")[2]: reason for name, reason in left_out.items()} == {
        "out_proj": "peft takes no adapter there in this architecture",
        "dt_proj": "the model reads its weight past the adapter",
    }
    message = adapter_targets.describe_left_out(left_out)
    assert "no adapter for backbone.layers.*.mixer.dt_proj: the model reads" in message
    for module, reason in (("out_proj", "peft takes no adapter"), ("dt_proj", "reads its weight past")):
        model = family("mamba")
        with pytest.raises(CoreError, match=f"unsupported_modules.*{reason}") as caught:
            adapter.attach(model, Lora(modules=["in_proj", module]))
        assert not caught.value.retryable
        assert not adapter.has_adapter(model)
        assert logits(model).equal(logits(family("mamba")))


class Discards(nn.Module):
    """Runs a layer beside another, and discards its output."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.beside = layer, nn.Linear(16, 16).double()

    def forward(self, states):
        self.beside(states)
        return self.layer(states)


def test_a_layer_whose_output_nothing_depends_on_is_left_out():
    model = tiny_model()
    model.model.layers[1].self_attn.o_proj = Discards(model.model.layers[1].self_attn.o_proj)
    assert attach_with_effect(model) == {
        "model.layers.1.self_attn.o_proj.beside": "the model's predictions do not depend on it"
    }


def test_an_adapter_that_makes_the_model_fail_is_refused_before_it_is_trained():
    model = tiny_model()
    model.model.layers[0].mlp.act_fn = nn.Module()  # cannot be called
    with pytest.raises(CoreError, match=r"unsupported_modules.*does not run") as caught:
        adapter.check(model, Lora())
    assert caught.value.blame == "user"
    assert not adapter.has_adapter(model)


def test_checking_leaves_no_trace():
    model = tiny_model()
    model.model.norm.weight.requires_grad_(False)
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert adapter.check(model, Lora()) == {}
    assert [name for name, weight in model.named_parameters() if weight.requires_grad] == trained
    assert not adapter.has_adapter(model)
    assert logits(model).equal(logits(tiny_model()))


def test_a_merge_that_changes_the_predictions_is_an_error_that_is_not_retried(monkeypatch):
    model = adapted_model()
    monkeypatch.setattr(adapter, "_distinct", lambda model: [layer for _, layer in adapter._layers(model)][1:])
    with pytest.raises(CoreError, match="merge_differs") as caught:
        adapter.merge(model)
    assert (caught.value.blame, caught.value.retryable) == ("service", False)


def test_an_adapter_that_peft_could_not_read_is_refused_where_it_is_to_be_delivered(monkeypatch):
    import peft

    model = tiny_model()
    read = peft.set_peft_model_state_dict
    renamed = lambda model, state, name: read(model, {f"{key}x": value for key, value in state.items()}, name)  # noqa: E731
    monkeypatch.setattr(peft, "set_peft_model_state_dict", renamed)
    assert adapter.check(model, Lora()) == {}
    with pytest.raises(CoreError, match=r"unreadable_adapter.*'merged'"):
        adapter.check(model, Lora(), delivered=True)
    assert not adapter.has_adapter(model)


def test_the_architectures_that_are_known_to_be_refused_are_those_that_peft_refuses():
    from peft.tuners import tuners_utils

    config = LoraConfig(target_modules=["out_proj"])
    for kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        model = nn.Module()
        model.config = PreTrainedConfig()
        model.config.model_type = kind
        architecture = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]
        for module in ("out_proj", "conv1d", "in_proj"):
            try:
                tuners_utils._check_lora_target_modules_mamba(config, model, module)
                refused = False
            except ValueError:
                refused = True
            assert refused == is_refused(architecture, f"layers.0.mixer.{module}"), (kind, module)


@pytest.mark.parametrize(("context", "reached"), [(4096, True), (64, False)])
def test_a_module_that_only_a_long_text_reaches_gets_an_adapter_if_the_context_allows_such_a_text(context, reached):
    config = DeepseekV4Config(
        **{"vocab_size": VOCABULARY, "hidden_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 1},
        **{"num_attention_heads": 4, "head_dim": 16, "q_lora_rank": 8, "o_groups": 2, "o_lora_rank": 8},
        **{"n_routed_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8, "max_position_embeddings": context},
        layer_types=["heavily_compressed_attention"],
        mlp_layer_types=["moe"],
    )
    left_out = adapter.check(DeepseekV4ForCausalLM(config).eval(), Lora())
    assert ("model.layers.0.self_attn.compressor.kv_proj" not in left_out) == reached
