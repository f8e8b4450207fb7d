import pytest
import torch
from torch import nn

from core.lm import compiler
from core.lm.errors import CoreError
from core.lm.layers import compile_layers, recompute_activations
from tests.unit.lm.tiny import tiny_model

IDS = torch.arange(3, 63).reshape(3, 20)


def gradients(model):
    """Of a weighted sum of the last hidden states, and how often the first layer's attention was run."""
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
    found, runs = gradients(model)
    assert (once, runs) == (1, 2)
    for one, other in zip(found, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_recomputing_wakes_no_dropout():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_positions=64, n_embd=16, n_layer=2, n_head=2)).eval()
    before = model(input_ids=IDS).logits
    recompute_activations(model)
    assert model(input_ids=IDS).logits.equal(before)
    assert not any(module.training for module in model.modules() if isinstance(module, nn.Dropout))


def test_a_model_that_cannot_recompute_is_named():
    model = tiny_model()
    model.model.layers = nn.ModuleList()
    with pytest.raises(CoreError, match="checkpointing_unavailable"):
        recompute_activations(model)


def test_where_nothing_compiles_the_advice_is_to_install_a_compiler(monkeypatch):
    def broken(function):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(compiler.torch, "compile", broken)
    with pytest.raises(CoreError, match=r"compile_unavailable.*C\+\+ compiler.*RuntimeError"):
        compile_layers(tiny_model())
