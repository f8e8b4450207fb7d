import pytest
import torch
from torch import nn
from transformers import XLMConfig, XLMWithLMHeadModel

from core.lm import adapter
from core.lm.errors import CoreError
from core.schema.training import Lora
from core.unlearning import weight_diff
from core.unlearning.parameter_selection import check_selection, select_parameters
from core.unlearning.weight_diff import WeightDiff
from tests.unit.lm.tiny import tiny_model
from tests.unit.unlearning.run import plain_training


def trained_names(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_all_weights_are_trained_unless_patterns_choose():
    model = tiny_model().requires_grad_(False)
    assert len(select_parameters(model, plain_training(), None)) == len(list(model.parameters()))
    chosen = select_parameters(model, plain_training(trainable=["model.layers.1.mlp.*", "*norm.weight"]), None)
    assert len(chosen) == len(trained_names(model)) == 3 + 5
    assert "model.layers.1.mlp.up_proj.weight" in trained_names(model)
    assert "model.layers.0.mlp.up_proj.weight" not in trained_names(model)


def test_a_methods_own_patterns_override_the_requests():
    model = tiny_model()
    select_parameters(model, plain_training(trainable=["*norm.weight"]), ["*.layers.0.mlp.down_proj.weight"])
    assert trained_names(model) == {"model.layers.0.mlp.down_proj.weight"}


def test_a_weight_that_two_modules_share_matches_by_both_names():
    model = tiny_model(tied=True)
    select_parameters(model, plain_training(trainable=["lm_head.weight"]), None)
    assert trained_names(model) == {"model.embed_tokens.weight"}


def test_a_pattern_without_a_match_is_refused_with_similar_names():
    training = plain_training(trainable=["*norm.weight", "model.layer.1.mlp.up_proj.weight"])
    for select in (check_selection, select_parameters):
        with pytest.raises(CoreError, match=r"no_such_layer.*'model.layer.1.*near it: model\.layers\.1\.mlp") as caught:
            select(tiny_model(), training, None)
        assert caught.value.blame == "user"


def test_checking_a_selection_changes_nothing():
    model = tiny_model()
    check_selection(model, plain_training(lora=Lora(), trainable="all"), None)
    check_selection(model, plain_training(trainable=["*norm.weight"]), None)
    assert len(trained_names(model)) == len(list(model.parameters()))
    with pytest.raises(CoreError, match="no_such_modules"):
        check_selection(model, plain_training(lora=Lora(modules=["absent"])), None)


@pytest.mark.parametrize(("trainable", "only"), [(["*norm.weight"], None), ("all", ["*norm.weight"])])
def test_an_adapter_and_chosen_weights_exclude_each_other(trainable, only):
    for select in (check_selection, select_parameters):
        with pytest.raises(CoreError, match="two_choices"):
            select(tiny_model(), plain_training(lora=Lora(), trainable=trainable), only)


def test_the_changed_share_is_of_all_weights_and_only_trained_weights_are_kept():
    model = tiny_model()
    everything = sum(weight.numel() for weight in model.parameters())
    (chosen,) = select_parameters(model, plain_training(trainable=["model.norm.weight"]), None)
    diff = WeightDiff(model)
    assert diff.changed_share(model) == 0
    with torch.no_grad():
        chosen[:3] += 1
    assert diff.changed_share(model) == 3 / everything
    assert sum(len(original.values) for original in diff._originals) == 16


def test_a_sample_estimates_the_changed_share_and_checksums_see_any_change(monkeypatch):
    monkeypatch.setattr(weight_diff, "SAMPLE", 100)
    model = tiny_model(dtype=torch.float32)
    everything = sum(weight.numel() for weight in model.parameters())
    select_parameters(model, plain_training(), None)
    diff = WeightDiff(model)
    assert sum(len(original.values) for original in diff._originals) < 200
    assert diff.changed_share(model) == 0
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 1] += 1  # not in the sample
    assert diff.changed_share(model) == 1 / everything
    with torch.no_grad():
        for layer in model.model.layers:
            for weight in layer.mlp.parameters():
                weight += 1
    share = sum(w.numel() for layer in model.model.layers for w in layer.mlp.parameters()) / everything
    assert diff.changed_share(model) == pytest.approx(share, rel=0.1)


def test_the_changed_share_of_an_adapter_is_that_of_the_merged_weights():
    model = tiny_model()
    everything = sum(weight.numel() for weight in model.parameters())
    select_parameters(model, plain_training(lora=Lora(rank=2, modules=["q_proj"])), None)
    diff = WeightDiff(model)
    assert diff.changed_share(model) == 0
    assert diff._originals == []
    up = dict(model.named_parameters())["model.layers.1.self_attn.q_proj.lora_B.default.weight"]
    with torch.no_grad():
        up[5] = 1  # one of 16 outputs: its row of the product's 16 x 16 weights
    assert diff.changed_share(model) == 16 / everything
    with torch.no_grad():
        up[5] = 1e-30
    assert diff.changed_share(model) == 0


@pytest.mark.parametrize("lora", [None, Lora(rank=2, modules=["q_proj"])])
def test_weights_and_adapters_are_rewritten_alike(lora):
    """The final weight reverses the difference, as a task vector does."""
    model, origin = tiny_model(), tiny_model()
    trained = select_parameters(model, plain_training(lora=lora, trainable="all" if lora else ["*q_proj.weight"]), None)
    diff = WeightDiff(model)
    with torch.no_grad():
        for weight in trained:
            weight.add_(torch.ones_like(weight))
    if lora:
        expected = [original - 2 * (new - original) for original, new in adapter.merged_weights(model)]
    else:
        expected = [original - 2 for name, original in origin.named_parameters() if "q_proj" in name]
    diff.rewrite(model, lambda trained, original: original - 2 * (trained - original))
    if lora:
        adapter.merge(model)
    rewritten = [weight for name, weight in model.named_parameters() if "q_proj" in name]
    assert len(rewritten) == 2
    for weight, expected_weight in zip(rewritten, expected, strict=True):
        torch.testing.assert_close(weight, expected_weight, rtol=1e-9, atol=1e-9)


def test_one_match_among_a_methods_patterns_is_enough():
    model = tiny_model()
    down = "*.layers.0.mlp.down_proj.weight"
    (chosen,) = select_parameters(model, plain_training(), ["*.h.0.mlp.c_proj.weight", down])
    assert chosen is model.model.layers[0].mlp.down_proj.weight
    check_selection(model, plain_training(), ["*.h.0.mlp.c_proj.weight", down])
    with pytest.raises(CoreError, match=r"by any name.*calibrated") as caught:
        check_selection(model, plain_training(), ["*.h.0.mlp.c_proj.weight"])
    assert caught.value.code == "no_such_layer"


def test_a_model_without_a_residual_stream_is_refused_with_the_methods_that_work():
    model = XLMWithLMHeadModel(XLMConfig(vocab_size=97, emb_dim=16, n_layers=3, n_heads=2)).eval()
    check_selection(model, plain_training(), None)
    with pytest.raises(CoreError, match=r"no_residual_stream.*XLMWithLMHeadModel.*calibrated.*npo") as caught:
        check_selection(model, plain_training(), None, layer=1)
    assert (caught.value.blame, caught.value.retryable) == ("user", False)
    assert "rmu" not in caught.value.message


@pytest.mark.parametrize("widths", [(2, 1), (1, 2)])
def test_layers_without_a_single_residual_stream_are_refused(widths):
    """Several streams, as hyper-connections have, or a stream of another width."""

    class Layer(nn.Module):
        def forward(self, states, **_):
            return states.repeat(widths[0], 1, widths[1])

    model = tiny_model()
    check_selection(model, plain_training(), None, layer=0)
    model.model.layers[0] = Layer()
    model.model.layers[0].weight = nn.Parameter(torch.zeros(1))
    with pytest.raises(CoreError, match="no_residual_stream"):
        check_selection(model, plain_training(), None, layer=0)


def test_an_adapter_to_deliver_must_be_readable(monkeypatch):
    monkeypatch.setattr(adapter, "_is_readable", lambda model: False)
    check_selection(tiny_model(), plain_training(lora=Lora()), None)
    with pytest.raises(CoreError, match="unreadable_adapter"):
        check_selection(tiny_model(), plain_training(lora=Lora()), None, delivered=True)
