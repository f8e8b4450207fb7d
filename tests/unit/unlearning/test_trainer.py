import pytest
import torch

from core.lm.errors import CoreError
from core.lm.model import load
from core.lm.saving import save
from core.schema.job_spec import RecordSet
from core.unlearning.objectives import METHODS, UnknownMethod
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import JobCancelled
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import example_sets, plain_training, run, weights


def adam(**changes):
    return plain_training(**({"optimizer": "adamw", "learning_rate": 1e-3, "records_per_step": 2} | changes))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_same_seed_gives_the_same_weights_bit_for_bit(method, precision):
    def trained(seed):
        model = tiny_model(dtype=torch.float32)
        return weights(
            run(method, model=model, training=adam(seed=seed, micro_batch_tokens=60, precision=precision))[0]
        )

    first, again, other_seed = trained(1), trained(1), trained(2)
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert not all(a.equal(b) for a, b in zip(first, other_seed, strict=True))


def test_progress_and_curves_are_reported_after_every_update():
    events = []
    _, result = run("calibrated", training=adam(epochs=2, scheduler="linear"), events=events)
    assert result.steps == 6
    progress = [event for event in events if event.kind == "progress"]
    assert [(event.step, event.steps) for event in progress] == [(step, 6) for step in range(1, 7)]
    assert progress[-1].eta_seconds == 0
    curves = [event for event in events if event.kind == "curve"]
    assert [event.step for event in curves] == list(range(1, 7))
    for event in curves:
        losses = {"loss", "forget_loss", "retain_loss", "unseen_loss", "rehearsal_loss", "spliced_loss"}
        assert set(event.values) == losses | {"learning_rate", "tokens_per_second"}
    assert [event.values["learning_rate"] for event in curves] == pytest.approx(
        [1e-3 * left / 6 for left in range(6, 0, -1)]
    )
    assert result.changed_share > 0.9


def test_the_token_count_is_without_padding():
    sets = TrainingSets(forget=records(6, seed=1))
    _, result = run("gradient_ascent", sets=sets, training=plain_training(epochs=3))
    from core.lm.data import encode

    tokens = sum(len(chunk.ids) for chunk in encode(sets.forget, tiny_tokenizer(), max_length=64, chat="raw"))
    assert result.tokens == 3 * tokens


def test_cancelling_takes_effect_between_two_updates():
    events = []
    with pytest.raises(JobCancelled):
        run("gradient_ascent", training=adam(), events=events, stop=lambda: len(events) >= 4)
    assert [event.step for event in events if event.kind == "progress"] == [1, 2]


def test_a_non_finite_loss_fails_before_the_weights_change():
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.fill_(float("inf"))
    before = weights(model)
    with pytest.raises(CoreError) as caught:
        run("gradient_ascent", model=model)
    assert caught.value.code == "nan_loss"
    assert "learning rate" in caught.value.message
    assert all(a.equal(b) for a, b in zip(before, weights(model), strict=True))


def test_a_non_finite_gradient_fails():
    def poison(gradient):
        return gradient * float("nan")

    model = tiny_model()
    model.model.layers[0].mlp.down_proj.weight.register_hook(poison)
    with pytest.raises(CoreError, match="nan_loss"):
        run("gradient_ascent", model=model, training=plain_training(epochs=1))


def test_a_job_that_changes_no_weight_fails():
    with pytest.raises(CoreError, match="nothing_moved"):
        run("gradient_ascent", training=plain_training(learning_rate=1e-30))
    with pytest.raises(CoreError, match="nothing_moved"):
        run("gradient_ascent", {"forget_weight": 0})


def test_changes_below_bfloat16_do_not_count_in_a_bfloat16_checkpoint(tmp_path):
    coarse = tiny_model(dtype=torch.bfloat16)
    with torch.no_grad():
        for weight in coarse.parameters():  # bfloat16 resolves small weights finely
            weight.copy_(weight.abs().clamp(min=0.1).copysign(weight))
    save(coarse, tiny_tokenizer(), tmp_path / "half", "card")
    model, _ = load(tmp_path / "half", "auto", device=torch.device("cpu"))
    before = weights(model)
    with pytest.raises(CoreError, match="nothing_moved"):
        run("gradient_ascent", model=model, training=plain_training(learning_rate=1e-5, gradient_clip=1.0, epochs=1))
    assert not all(a.equal(b) for a, b in zip(before, weights(model), strict=True))


def test_small_updates_of_a_bfloat16_model_add_up(tmp_path):
    """Each update is a hundredth of a step of bfloat16 in a typical weight: rounded one by one, all would be lost."""
    save(tiny_model(dtype=torch.bfloat16), tiny_tokenizer(), tmp_path / "half", "card")
    model, _ = load(tmp_path / "half", "auto", device=torch.device("cpu"))
    training = adam(learning_rate=1e-5, epochs=60, records_per_step=6)
    _, result = run("ascent_kl", model=model, training=training)
    assert 0.2 < result.changed_share < 0.99


@pytest.mark.parametrize("warmup", [0.0, 0.03, 0.5])
def test_a_single_update_has_the_full_rate(warmup):
    events = []
    _, result = run("gradient_ascent", training=adam(epochs=1, records_per_step=6, warmup=warmup), events=events)
    assert result.steps == 1
    assert events[-1].values["learning_rate"] == pytest.approx(1e-3)


def test_gradients_are_clipped_by_norm():
    before = weights(tiny_model())
    model, _ = run("gradient_ascent", training=plain_training(epochs=1, learning_rate=1.0, gradient_clip=0.01))
    moved = sum(float((new - old).square().sum()) for new, old in zip(weights(model), before, strict=True)) ** 0.5
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_a_retain_set_smaller_than_the_forget_set_is_cycled_with_a_warning():
    events = []
    sets = TrainingSets(forget=records(6, seed=1), retain=[RecordSet(name="retain", records=records(2, seed=2))])
    _, result = run("ascent_descent", sets=sets, training=adam(epochs=2), events=events)
    warnings = [event for event in events if event.kind == "warning"]
    assert [warning.code for warning in warnings] == ["retain_smaller_than_forget"]
    assert "in training (2) than records to forget (6)" in warnings[0].message
    retained = [event.values["retain_loss"] for event in events if event.kind == "curve"]
    assert len(retained) == result.steps == 6
    assert all(value > 0 for value in retained)


def test_retain_records_of_weight_0_do_not_change_the_updates():
    """With retain weight 0, a job with a retain set makes the updates of a job without one."""
    sets = TrainingSets(forget=records(6, seed=1), retain=[RecordSet(name="retain", records=records(2, seed=2))])
    with_retain, _ = run("ascent_descent", {"retain_weight": 0}, sets=sets, training=adam(epochs=3))
    alone, _ = run("gradient_ascent", sets=TrainingSets(forget=sets.forget), training=adam(epochs=3))
    for weight, other in zip(weights(with_retain), weights(alone), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "sets", "code"),
    [
        ("gradient_ascent", TrainingSets(forget=[]), "empty_forget_set"),
        ("ascent_kl", TrainingSets(forget=records(2, seed=1)), "empty_retain_set"),
        (
            "ascent_kl",
            TrainingSets(forget=records(2, seed=1), retain=[RecordSet(name="retain", records=[])]),
            "empty_retain_set",
        ),
        ("calibrated", TrainingSets(forget=records(2, seed=1), retain=example_sets().retain), "empty_unseen_set"),
    ],
)
def test_a_missing_set_is_refused_by_name(method, sets, code):
    with pytest.raises(CoreError) as caught:
        run(method, sets=sets)
    assert caught.value.code == code
    assert caught.value.blame == "user"


def test_an_unknown_method_is_refused():
    with pytest.raises(UnknownMethod, match="gradient_ascent"):
        run("erase")


def test_training_uses_no_dropout():
    """GPT-2 has 10 % dropout in training mode; the first update's KL to the reference model must be 0."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_positions=64, n_embd=16, n_layer=2, n_head=2))
    events = []
    run("ascent_kl", model=model.train(), training=adam(), events=events)
    first = next(event for event in events if event.kind == "curve")
    assert first.values["retain_loss"] == pytest.approx(0, abs=1e-6)


def test_bfloat16_arithmetic_keeps_float32_weights():
    model = tiny_model(dtype=torch.float32)
    run("calibrated", model=model, training=adam(precision="bfloat16"))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.isfinite().all() for weight in model.parameters())
