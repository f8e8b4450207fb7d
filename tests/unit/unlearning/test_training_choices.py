"""What is trained, in which precision, and what happens when memory is short."""

import pytest
import torch

from core.lm.errors import CoreError
from core.schema.training import Lora
from core.unlearning import objective
from core.unlearning.objectives import METHODS
from tests.unit.lm.tiny import tiny_model
from tests.unit.unlearning.run import plain_training, run, weights

OWN_CHOICE = [name for name, method in METHODS.items() if method().trained_weights(2) is not None]


def names_that_differ(model, other):
    others = dict(other.named_parameters())
    return {name for name, weight in model.named_parameters() if not weight.equal(others[name])}


def adam(**changes):
    return plain_training(**({"optimizer": "adamw", "learning_rate": 1e-3, "records_per_step": 3} | changes))


def test_only_the_weights_that_are_named_move():
    model, result = run("ascent_kl", training=adam(trainable=["model.layers.1.mlp.*"]))
    parts = ("up", "gate", "down")
    assert names_that_differ(model, tiny_model()) == {f"model.layers.1.mlp.{part}_proj.weight" for part in parts}
    assert 0 < result.changed_share < 0.3


def test_a_pattern_that_names_nothing_fails_before_training():
    events = []
    with pytest.raises(CoreError, match="no_such_layer"):
        run("ascent_kl", training=adam(trainable=["transformer.h.*"]), events=events)
    assert events == []


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", [name for name in METHODS if name not in OWN_CHOICE])
def test_an_adapter_trains_with_every_method_and_leaves_its_base_alone(method, checkpointing):
    training = adam(lora=Lora(rank=4), checkpointing=checkpointing, epochs=1)
    model, result = run(method, training=training)
    assert 0 < result.changed_share <= 1
    moved = [weight for name, weight in model.named_parameters() if "lora_B" in name]
    assert all(weight.abs().max() > 0 for weight in moved)
    base = dict(tiny_model().named_parameters())
    for name, weight in model.named_parameters():
        if "lora_" not in name:
            assert weight.equal(base[name.replace(".base_layer", "")])


def test_an_adapter_under_a_kl_to_the_original_starts_from_no_distance():
    """The original is the model with the adapter off: the first step's KL is 0."""
    events = []
    run("ascent_kl", training=adam(lora=Lora(rank=4)), events=events)
    first = next(event for event in events if event.kind == "curve")
    assert first.values["retain_loss"] == pytest.approx(0, abs=1e-9)


def test_an_adapter_is_trained_by_the_gradient_of_the_merged_weights():
    """One step of plain descent on B alone (A's gradient is 0 while B is): B = -rate * scale * dL/dW A^T."""
    lora = Lora(rank=3, alpha=6.0, modules=["q_proj"])
    training = plain_training(epochs=1, lora=lora)
    model, _ = run("gradient_ascent", training=training)
    plain, _ = run("gradient_ascent", training=plain_training(epochs=1))
    for old, new, layer in zip(tiny_model().model.layers, plain.model.layers, model.model.layers, strict=True):
        gradient = (old.self_attn.q_proj.weight - new.self_attn.q_proj.weight) / training.learning_rate
        found = layer.self_attn.q_proj
        first = found.lora_A["default"].weight
        wanted = -training.learning_rate * 2.0 * gradient @ first.T
        torch.testing.assert_close(found.lora_B["default"].weight, wanted, rtol=1e-7, atol=1e-9)


def test_an_adapter_that_moves_nothing_fails():
    with pytest.raises(CoreError, match="nothing_moved"):
        run("gradient_ascent", {"forget_weight": 0}, training=adam(lora=Lora(rank=2)))


@pytest.mark.parametrize("method", ["ascent_kl", "calibrated"])
@pytest.mark.parametrize("choice", [{}, {"lora": Lora(rank=4)}, {"trainable": ["*.layers.0.*"]}])
def test_recomputing_activations_changes_no_weight(method, choice):
    plain, _ = run(method, training=adam(**choice))
    recomputed, _ = run(method, training=adam(checkpointing=True, **choice))
    for one, other in zip(weights(plain), weights(recomputed), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_activations_are_recomputed_where_that_is_asked_for():
    def runs(checkpointing):
        model, counted = tiny_model(), []
        model.model.layers[0].self_attn.register_forward_pre_hook(lambda *_: counted.append(torch.is_grad_enabled()))
        run("gradient_ascent", model=model, training=plain_training(epochs=1, checkpointing=checkpointing))
        return sum(counted)

    assert runs(True) == 2 * runs(False) > 0


@pytest.mark.parametrize("choice", [{}, {"lora": Lora(rank=4)}, {"optimizer": "sgd"}, {"checkpointing": True}])
def test_weights_held_in_bfloat16_train_and_stay_in_it(choice):
    def trained(seed):
        model = tiny_model(dtype=torch.bfloat16)
        training = adam(master_weights="bfloat16", learning_rate=1e-4, seed=seed, **choice)
        return run("ascent_kl", model=model, training=training)

    model, result = trained(1)
    held = {weight.dtype for name, weight in model.named_parameters() if "lora_" not in name}
    assert held == {torch.bfloat16}
    assert result.changed_share > 0
    again, _ = trained(1)
    assert all(one.equal(other) for one, other in zip(weights(model), weights(again), strict=True))


def test_small_updates_of_weights_held_in_bfloat16_go_where_float32_takes_them():
    """Each update is a hundredth of what bfloat16 can resolve in a typical weight."""
    training = adam(learning_rate=2e-5, epochs=40, records_per_step=6)
    start = tiny_model(dtype=torch.bfloat16)
    held, _ = run("gradient_ascent", model=tiny_model(dtype=torch.bfloat16), training=training)
    exact, _ = run("gradient_ascent", model=start.float(), training=training)
    origin = tiny_model(dtype=torch.bfloat16)
    by_half = torch.cat(
        [(a.float() - b.float()).flatten() for a, b in zip(weights(held), weights(origin), strict=True)]
    )
    by_float = torch.cat([(a - b.float()).flatten() for a, b in zip(weights(exact), weights(origin), strict=True)])
    # how far the one goes in the direction of the other
    assert float(by_half @ by_float / by_float.square().sum()) == pytest.approx(1, abs=0.15)


class Full(Exception):
    pass


def short_of_memory(monkeypatch, *, most_tokens, error, let_through=0):
    """The forward of a micro-batch of more tokens than this fails, at its end, as it does where memory is short; the
    first few are let through."""
    whole = objective.Forward.hidden
    sizes = []

    def hidden(self, chunks):
        found = whole(self, chunks)
        if torch.is_grad_enabled():
            sizes.append(sum(len(chunk.ids) for chunk in chunks))
            if sum(size > most_tokens for size in sizes) > let_through and sizes[-1] > most_tokens:
                raise error
        return found

    monkeypatch.setattr(objective.Forward, "hidden", hidden)
    return sizes


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 GB")],
)
def test_out_of_memory_a_step_is_done_again_in_halves_and_the_update_is_the_same(monkeypatch, error):
    plain, _ = run("ascent_kl", training=plain_training(micro_batch_tokens=60))
    events = []
    # at the second micro-batch of the step: the gradient of the first is there already, and must not count twice
    sizes = short_of_memory(monkeypatch, most_tokens=30, error=error, let_through=1)
    model, _ = run("ascent_kl", training=plain_training(micro_batch_tokens=60), events=events)
    assert [size > 30 for size in sizes][:3] == [True, True, False]
    assert sum(size > 30 for size in sizes) == 2
    for one, other in zip(weights(plain), weights(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    (warning,) = [event for event in events if event.kind == "warning"]
    assert warning.code == "micro_batch_halved"
    assert "30 tokens" in warning.message


def test_out_of_memory_for_good_is_the_users_with_advice(monkeypatch):
    sizes = short_of_memory(monkeypatch, most_tokens=5, error=torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(CoreError, match=r"out_of_memory.*in micro-batches of 30 tokens.*max_length") as caught:
        run("ascent_kl", training=plain_training(micro_batch_tokens=60))
    assert caught.value.blame == "user"
    assert len(sizes) == 2


def test_what_is_not_short_of_memory_is_not_tried_again(monkeypatch):
    sizes = short_of_memory(monkeypatch, most_tokens=5, error=Full("something else"))
    with pytest.raises(Full):
        run("ascent_kl", training=plain_training(micro_batch_tokens=60))
    assert len(sizes) == 1
