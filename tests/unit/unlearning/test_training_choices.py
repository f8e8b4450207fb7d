"""Choices of training: which weights, which precision, recomputing activations, and short memory."""

import pytest
import torch

from core.lm.errors import CoreError
from core.schema.training import Lora
from core.unlearning import objective
from core.unlearning.objectives import METHODS
from tests.unit.lm.tiny import tiny_model
from tests.unit.unlearning.run import plain_training, run, weights

WITH_OWN_WEIGHTS = [name for name, method in METHODS.items() if method().trained_weights(2) is not None]


def names_that_differ(model, other):
    other_weights = dict(other.named_parameters())
    return {name for name, weight in model.named_parameters() if not weight.equal(other_weights[name])}


def adam(**changes):
    return plain_training(**({"optimizer": "adamw", "learning_rate": 1e-3, "records_per_step": 3} | changes))


def test_only_chosen_weights_change():
    model, result = run("ascent_kl", training=adam(trainable=["model.layers.1.mlp.*"]))
    projections = ("up", "gate", "down")
    assert names_that_differ(model, tiny_model()) == {
        f"model.layers.1.mlp.{projection}_proj.weight" for projection in projections
    }
    assert 0 < result.changed_share < 0.3


def test_a_pattern_without_a_match_fails_before_training():
    events = []
    with pytest.raises(CoreError, match="no_such_layer"):
        run("ascent_kl", training=adam(trainable=["transformer.h.*"]), events=events)
    assert events == []


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in WITH_OWN_WEIGHTS])
def test_an_adapter_trains_with_every_method_and_leaves_its_base_unchanged(method, checkpointing):
    training = adam(lora=Lora(rank=4), checkpointing=checkpointing, epochs=1)
    model, result = run(method, training=training)
    assert 0 < result.changed_share <= 1
    moved = [weight for name, weight in model.named_parameters() if "lora_B" in name]
    assert all(weight.abs().max() > 0 for weight in moved)
    base = dict(tiny_model().named_parameters())
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            assert weight.equal(base[name.replace(".base_layer", "")])


def test_the_kl_of_an_adapter_is_zero_at_the_first_update():
    """The reference model is the model with the adapter off."""
    events = []
    run("ascent_kl", training=adam(lora=Lora(rank=4)), events=events)
    first = next(event for event in events if event.kind == "curve")
    assert first.values["retain_loss"] == pytest.approx(0, abs=1e-9)


def test_an_adapter_is_trained_by_the_gradient_of_the_merged_weights():
    """One update of plain descent changes B alone (A's gradient is 0 while B is): B = -rate * scale * dL/dW A^T."""
    lora = Lora(rank=3, alpha=6.0, modules=["q_proj"])
    training = plain_training(epochs=1, lora=lora)
    model, _ = run("gradient_ascent", training=training)
    plain, _ = run("gradient_ascent", training=plain_training(epochs=1))
    for old, new, layer in zip(tiny_model().model.layers, plain.model.layers, model.model.layers, strict=True):
        gradient = (old.self_attn.q_proj.weight - new.self_attn.q_proj.weight) / training.learning_rate
        adapter = layer.self_attn.q_proj
        expected_b = -training.learning_rate * 2.0 * gradient @ adapter.lora_A["default"].weight.T
        torch.testing.assert_close(adapter.lora_B["default"].weight, expected_b, rtol=1e-7, atol=1e-9)


def test_an_adapter_that_changes_nothing_fails():
    with pytest.raises(CoreError, match="nothing_moved"):
        run("gradient_ascent", {"forget_weight": 0}, training=adam(lora=Lora(rank=2)))


@pytest.mark.parametrize("method", ["ascent_kl", "calibrated"])
@pytest.mark.parametrize("choice", [{}, {"lora": Lora(rank=4)}, {"trainable": ["*.layers.0.*"]}])
def test_recomputing_activations_changes_no_weight(method, choice):
    plain, _ = run(method, training=adam(**choice))
    recomputed, _ = run(method, training=adam(checkpointing=True, **choice))
    for weight, recomputed_weight in zip(weights(plain), weights(recomputed), strict=True):
        torch.testing.assert_close(weight, recomputed_weight, rtol=1e-10, atol=1e-10)


def test_checkpointing_recomputes_activations():
    def forwards(checkpointing):
        model, calls = tiny_model(), []
        model.model.layers[0].self_attn.register_forward_pre_hook(lambda *_: calls.append(torch.is_grad_enabled()))
        run("gradient_ascent", model=model, training=plain_training(epochs=1, checkpointing=checkpointing))
        return sum(calls)

    assert forwards(True) == 2 * forwards(False) > 0


@pytest.mark.parametrize("choice", [{}, {"lora": Lora(rank=4)}, {"optimizer": "sgd"}, {"checkpointing": True}])
def test_bfloat16_weights_train_and_stay_in_bfloat16(choice):
    def trained(seed):
        model = tiny_model(dtype=torch.bfloat16)
        training = adam(master_weights="bfloat16", learning_rate=1e-4, seed=seed, **choice)
        return run("ascent_kl", model=model, training=training)

    model, result = trained(1)
    dtypes = {weight.dtype for name, weight in model.named_parameters() if "lora_" not in name}
    assert dtypes == {torch.bfloat16}
    assert result.changed_share > 0
    again, _ = trained(1)
    assert all(a.equal(b) for a, b in zip(weights(model), weights(again), strict=True))


def test_small_updates_of_bfloat16_weights_go_in_the_direction_of_float32():
    """Each update is a hundredth of what bfloat16 can resolve in a typical weight."""
    training = adam(learning_rate=2e-5, epochs=40, records_per_step=6)
    start = tiny_model(dtype=torch.bfloat16)
    rounded, _ = run("gradient_ascent", model=tiny_model(dtype=torch.bfloat16), training=training)
    exact, _ = run("gradient_ascent", model=start.float(), training=training)
    origin = tiny_model(dtype=torch.bfloat16)
    bfloat16_change = torch.cat(
        [(a.float() - b.float()).flatten() for a, b in zip(weights(rounded), weights(origin), strict=True)]
    )
    float32_change = torch.cat(
        [(a - b.float()).flatten() for a, b in zip(weights(exact), weights(origin), strict=True)]
    )
    # the length of the first change in the direction of the second
    assert float(bfloat16_change @ float32_change / float32_change.square().sum()) == pytest.approx(1, abs=0.15)


class OtherError(Exception):
    pass


def short_of_memory(monkeypatch, *, most_tokens, error, let_through=0):
    """Makes the forward of a micro-batch of more than `most_tokens` tokens fail at its end, as out of memory does; the
    first `let_through` of them succeed."""
    forward_hidden = objective.Forward.hidden
    sizes = []

    def hidden(self, chunks):
        states = forward_hidden(self, chunks)
        if torch.is_grad_enabled():
            sizes.append(sum(len(chunk.ids) for chunk in chunks))
            if sum(size > most_tokens for size in sizes) > let_through and sizes[-1] > most_tokens:
                raise error
        return states

    monkeypatch.setattr(objective.Forward, "hidden", hidden)
    return sizes


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 GB")],
)
def test_out_of_memory_halves_the_micro_batches_and_keeps_the_update(monkeypatch, error):
    plain, _ = run("ascent_kl", training=plain_training(micro_batch_tokens=60))
    events = []
    # fails at the second micro-batch of the step: the first one's gradient exists already, and must not count twice
    sizes = short_of_memory(monkeypatch, most_tokens=30, error=error, let_through=1)
    model, _ = run("ascent_kl", training=plain_training(micro_batch_tokens=60), events=events)
    assert [size > 30 for size in sizes][:3] == [True, True, False]
    assert sum(size > 30 for size in sizes) == 2
    for weight, halved_weight in zip(weights(plain), weights(model), strict=True):
        torch.testing.assert_close(weight, halved_weight, rtol=1e-9, atol=1e-12)
    (warning,) = [event for event in events if event.kind == "warning"]
    assert warning.code == "micro_batch_halved"
    assert "30 tokens" in warning.message


def test_out_of_memory_after_halving_is_the_users_error_with_advice(monkeypatch):
    sizes = short_of_memory(monkeypatch, most_tokens=5, error=torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(CoreError, match=r"out_of_memory.*in micro-batches of 30 tokens.*max_length") as caught:
        run("ascent_kl", training=plain_training(micro_batch_tokens=60))
    assert caught.value.blame == "user"
    assert len(sizes) == 2


def test_other_errors_are_not_retried(monkeypatch):
    sizes = short_of_memory(monkeypatch, most_tokens=5, error=OtherError("something else"))
    with pytest.raises(OtherError):
        run("ascent_kl", training=plain_training(micro_batch_tokens=60))
    assert len(sizes) == 1
