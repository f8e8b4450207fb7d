import pytest
import torch
from torch import nn

from core.lm import adapter, compiler, layers
from core.lm.errors import CoreError
from core.lm.layers import compile_layers, recompute_activations
from core.schema.training import Lora
from tests.unit.lm.tiny import tiny_mixture, tiny_model

IDS = torch.arange(3, 63).reshape(3, 20)


def gradients(model):
    """Returns gradients of a weighted sum of the last hidden states, and the runs of the first layer's attention."""
    runs = []
    model.model.layers[0].self_attn.register_forward_pre_hook(lambda *_: runs.append(1))
    states = model.model(input_ids=IDS, use_cache=False).last_hidden_state
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (states * weights).sum().backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None], len(runs)


def test_recomputing_runs_the_layers_twice_for_the_same_gradients():
    plain, once = gradients(tiny_model())
    model = tiny_model()
    recompute_activations(model)
    recomputed, runs = gradients(model)
    assert (once, runs) == (1, 2)
    for gradient, plain_gradient in zip(recomputed, plain, strict=True):
        torch.testing.assert_close(gradient, plain_gradient, rtol=1e-10, atol=1e-10)


def test_recomputing_switches_no_dropout_on():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_positions=64, n_embd=16, n_layer=2, n_head=2)).eval()
    before = model(input_ids=IDS).logits
    recompute_activations(model)
    assert model(input_ids=IDS).logits.equal(before)
    assert not any(module.training for module in model.modules() if isinstance(module, nn.Dropout))


def test_recomputing_switches_no_dropout_on_that_a_layer_does_itself():
    from transformers import OPTConfig, OPTForCausalLM

    shape = {"hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 32, "num_hidden_layers": 2}
    config = OPTConfig(vocab_size=97, num_attention_heads=2, max_position_embeddings=64, dropout=0.5, **shape)
    model = OPTForCausalLM(config).eval()
    before = model(input_ids=IDS, use_cache=False).logits
    runs = []
    model.model.decoder.layers[0].self_attn.register_forward_pre_hook(lambda *_: runs.append(1))
    recompute_activations(model)
    after = model(input_ids=IDS, use_cache=False).logits
    assert after.equal(before)
    after.sum().backward()
    assert len(runs) == 2


def test_recomputing_ends_with_its_context():
    model = tiny_model()
    with layers.recomputing(model):
        assert gradients(model)[1] == 2
    assert not any(module.training for module in model.modules())
    model.zero_grad()
    assert gradients(model)[1] == 1
    recompute_activations(model)
    with layers.recomputing(model):
        pass
    assert gradients(model)[1] == 2, "it goes on where it was asked for"


def test_experts_with_adapters_are_not_compiled(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **_: compiled.append(type(module).__name__))
    monkeypatch.setattr(layers, "require_compiler", lambda *_: None)
    compile_layers(tiny_mixture())
    assert compiled.count("MixtralSparseMoeBlock") == 2
    compiled.clear()
    model = tiny_mixture()
    adapter.attach(model, Lora(rank=2))
    compile_layers(model)
    assert "MixtralSparseMoeBlock" not in compiled
    assert compiled.count("MixtralRMSNorm") == 4


def test_a_model_that_cannot_recompute_is_an_error():
    model = tiny_model()
    model.model.layers = nn.ModuleList()
    with pytest.raises(CoreError, match="checkpointing_unavailable"):
        recompute_activations(model)


def test_without_a_compiler_the_error_advises_to_install_one(monkeypatch):
    def broken(function):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compiler.torch, "compile", broken)
    with pytest.raises(CoreError, match=r"compile_unavailable.*C\+\+ compiler.*RuntimeError"):
        compile_layers(tiny_model())
