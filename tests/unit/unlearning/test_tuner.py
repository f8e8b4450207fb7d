"""A tuned training: its rate, its end, the state it delivers, and its resumption."""

import math

import pytest
import torch
from torch import nn

from core.lm.errors import CoreError
from core.lm.fingerprint import Fingerprint
from core.lm.forward import Forward
from core.lm.snapshots import Snapshots
from core.schema.training import TrainingRequest
from core.unlearning.forgetting_monitor import ForgettingMonitor, Reading
from core.unlearning.objective import accumulate_gradient
from core.unlearning.objectives import METHODS, fill_training, resolve
from core.unlearning.step_plan import plan_steps
from core.unlearning.trainer import JobPaused, NothingToForget
from core.unlearning.tuner import CHECKS, FASTEST, LEAST_FORGET_WEIGHT, Tuner
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import example_sets, plain_training, run, weights


class Readings:
    """Gives the worst readings of a script, one for each look."""

    def __init__(self, *worst):
        self._worst = list(worst)

    def read(self):
        return Reading(forget=self._worst.pop(0), retain=0.0, unseen=0.0)


class HarmReadings:
    """Gives the readings (forget, retain) of a script, one for each look, and the movement of a quick model."""

    def __init__(self, *readings):
        self._readings = list(readings)

    def read(self):
        forget, retain = self._readings.pop(0)
        return Reading(forget=forget, retain=retain, unseen=0.0)

    def movement(self):
        return 1.0, 0.0


def tuned(*worst, steps=CHECKS):
    """(the step after which it stopped, why, the weight it delivers); the weight is the number of updates."""
    weight = nn.Parameter(torch.zeros(1))
    tuner = Tuner(Readings(*worst), [weight], steps)
    step = 0
    while step < steps and tuner.stop_reason is None:
        step += 1
        weight.data += 1
        tuner.check(step)
    events = []
    tuner.finish(step, events.append)
    assert events[0].step == step
    assert events[0].best_step == weight.item()
    return step, events[0].reason, weight.item()


def test_two_good_readings_in_a_row_end_the_training():
    assert tuned(9, 5, 0.9, 3, 0.8, 0.7, 9, 9) == (5, "converged", 5)
    assert tuned(9, 0.5, 0.6) == (2, "converged", 1), "the better of both is delivered"


def test_a_training_that_gets_worse_ends_and_delivers_its_best_state():
    assert tuned(9, 2, *range(3, 12), 12) == (10, "no_progress", 1)


def test_a_training_that_uses_its_budget_delivers_its_best_state():
    falling = [20 - step for step in range(CHECKS)]
    assert tuned(20.5, *falling[:-1], 19) == (CHECKS, "budget", CHECKS - 1)


def test_a_loss_that_is_no_number_ends_the_training():
    assert tuned(9, 5, math.nan) == (2, "diverged", 1)


def test_a_long_training_is_read_as_often_as_a_short_one():
    monitor = Readings(*range(1000, 0, -1))
    tuner = Tuner(monitor, [nn.Parameter(torch.zeros(1))], 10 * CHECKS)
    for step in range(1, 10 * CHECKS + 1):
        tuner.check(step)
    assert monitor.read().worst == 1000 - CHECKS - 1


def test_the_forget_term_counts_less_once_forget_text_is_like_unseen_text():
    tuner = Tuner(Readings(9, 3, 0.5, 0.02, 2), [nn.Parameter(torch.zeros(1))], CHECKS)
    factors = [tuner.forget_factor]
    for step in range(1, 5):
        tuner.check(step)
        factors.append(tuner.forget_factor)
    assert factors == [1, 1, 0.5, LEAST_FORGET_WEIGHT, 1]
    _, values = tuner.state()
    resumed = Tuner(Readings(9), [nn.Parameter(torch.zeros(1))], CHECKS)
    resumed.restore(values | {"forget_factor": 0.3})
    assert resumed.forget_factor == 0.3


def test_the_forget_term_counts_less_the_greater_the_harm_beside_it():
    readings = ((9, 0), (30, 3), (4, 8), (1.2, 6), (0.2, 9), (0.6, 0.3))
    tuner = Tuner(HarmReadings(*readings), [nn.Parameter(torch.zeros(1))], CHECKS)
    factors = []
    for step in range(1, 6):
        tuner.check(step)
        factors.append(tuner.forget_factor)
    assert factors == pytest.approx([1, 0.5, 0.2, LEAST_FORGET_WEIGHT, 0.6])


def test_a_reading_without_harm_raises_the_rate_until_forget_text_is_like_unseen_text():
    tuner = Tuner(
        HarmReadings((9, 0), (8, 0.9), (7, 1.1), (6, 0.5), (0.8, 0), (2, 0)), [nn.Parameter(torch.zeros(1))], CHECKS
    )
    tuner.find_learning_rate(lambda trial, rate: None, 1e-3, lambda event: None)
    found = tuner.learning_rate
    factors = []
    for step in range(1, 6):
        tuner.check(step)
        factors.append(tuner.learning_rate / found)
    assert factors == pytest.approx([1.5, 1.5, 2.25, 2.25, 3.375])


def tuner_of(readings, steps=CHECKS, stable=range(9)):
    return Tuner(HarmReadings(*readings), [nn.Parameter(torch.zeros(1))], steps, stable=stable)


def test_the_rate_falls_after_two_readings_in_which_forget_text_is_like_unseen_text():
    tuner = tuner_of(((9, 9), (0.9, 9), (5, 9), (0.9, 8), (0.5, 8), (3, 8), (0.8, 8), (0.7, 8)))
    skipped = []
    for step in range(1, 8):
        tuner.check(step)
        skipped.append(tuner.skipped)
    assert skipped == [0, 0, 0, 5, 5, 5, 5], "the other five of the nine are not needed, whatever comes later"
    resumed = tuner_of(((9, 9),))
    resumed.restore(tuner.state()[1])
    assert resumed.skipped == 5


def test_the_rate_does_not_fall_earlier_in_the_warm_up_or_while_it_falls():
    warm = tuner_of(((9, 9), (0.9, 8), (0.9, 8), (0.9, 8)), stable=range(3, 9))
    skipped = []
    for step in range(1, 4):
        warm.check(step)
        skipped.append(warm.skipped)
    assert skipped == [0, 0, 6]
    late = tuner_of(((9, 9), (0.9, 8), (0.9, 8)))
    late.check(9)
    late.check(10)
    assert late.skipped == 0


def test_the_count_of_readings_in_a_row_survives_a_resumption():
    tuner = tuner_of(((9, 9), (0.9, 8)))
    tuner.check(1)
    resumed = tuner_of(((9, 9), (0.9, 8)))
    resumed.restore(tuner.state()[1])
    resumed.check(2)
    assert resumed.skipped == 7


def test_the_last_update_of_a_shortened_training_is_read():
    tuner = tuner_of(((9, 9), (0.9, 8), (0.9, 8), (0.5, 2)), steps=10 * CHECKS, stable=range(90))
    tuner.check(10)
    tuner.check(20)
    assert tuner.skipped == 70
    tuner.check(79)
    assert tuner.best_step == 10
    tuner.check(80)
    assert tuner.best_step == 80


def test_a_training_waits_for_a_better_state_until_the_rate_has_fallen():
    """Harm at the full rate exceeds the first distance all the time; what comes after it may repair that."""
    tuner = tuner_of(((4, 0), *[(2, 4.5)] * 14, (2, 1)))
    for step in range(1, CHECKS + 1):
        assert tuner.stop_reason is None
        tuner.check(step)
    assert tuner.best_step == CHECKS


def test_a_tuned_training_leaves_out_updates_at_the_full_rate_that_it_does_not_need(learned, monkeypatch):
    """The readings after the second and fourth of 30 updates say that much is harmed and nothing can be told apart."""
    readings = iter([Reading(9, 9, 0), Reading(0.9, 8, 0)])
    monkeypatch.setattr(
        ForgettingMonitor, "read", lambda monitor: next(readings, Reading(forget=0.9, retain=7.0, unseen=0.0))
    )
    events = []
    training = plain_training(epochs=10, records_per_step=2, tune="auto", scheduler="wsd", learning_rate=1e-4)
    run("calibrated", {}, training=training, events=events, model=fresh(learned))
    rates = [event.values["learning_rate"] for event in events if event.kind == "curve"]
    steps = [(event.step, event.steps) for event in events if event.kind == "progress"]
    assert len(rates) == 16, "four at the full rate, twelve that lower it"
    assert rates[:4] == [rates[0]] * 4
    assert rates[4:] == pytest.approx([rates[0] * (12 - step) / 12 for step in range(12)])
    assert steps[0] == (1, 30)
    assert steps[-1] == (16, 16)
    (trained,) = [event for event in events if event.kind == "trained"]
    assert (trained.step, trained.steps, trained.reason) == (16, 16, "budget")


def test_the_rate_is_not_raised_without_end():
    tuner = Tuner(
        HarmReadings(*[(9 - step / 10, 0) for step in range(CHECKS + 1)]), [nn.Parameter(torch.zeros(1))], CHECKS
    )
    tuner.find_learning_rate(lambda trial, rate: None, 1e-3, lambda event: None)
    found = tuner.learning_rate
    for step in range(1, CHECKS + 1):
        tuner.check(step)
    assert tuner.learning_rate == pytest.approx(FASTEST * found)
    resumed = Tuner(HarmReadings((9, 0), (9, 0)), [nn.Parameter(torch.zeros(1))], CHECKS)
    resumed.restore(tuner.state()[1])
    resumed.check(1)
    assert resumed.learning_rate == tuner.learning_rate, "the bound belongs to the state"


def test_the_factor_of_the_forget_term_reaches_the_gradient(learned):
    gradients = []
    for factor in (1.0, 0.25):
        model = fresh(learned)
        forward = Forward(model)
        plan = plan_steps(
            resolve("gradient_ascent", {}),
            forward,
            tiny_tokenizer(),
            plain_training(),
            known_sets(),
            report=lambda event: None,
            should_stop=lambda: False,
        )
        plan.forget_factor = factor
        batches = plan.term_batches(0, 1, [0, 1])
        accumulate_gradient(forward, batches, epoch=0, max_tokens=1000, backward=torch.Tensor.backward)
        gradients.append([weight.grad for weight in model.parameters()])
    for whole, quarter in zip(*gradients, strict=True):
        torch.testing.assert_close(quarter, whole / 4)


def known_sets():
    """Sets of whose forget records the model below knows every one."""
    sets = example_sets()
    sets.retain[0].records = records(20, seed=2)
    sets.unseen = records(12, seed=4)
    return sets


@pytest.fixture(scope="module")
def learned():
    """A tiny model that was trained on its forget and retain sets."""
    sets = known_sets()
    sets.retain[0].records = [*sets.forget, *sets.retain[0].records]
    sets.retain = sets.retain[:1]
    descent = {"forget_weight": 0.0, "retain_term": "descent", "retain_ratio": 5.0}
    training = plain_training(optimizer="adamw", learning_rate=5e-3, epochs=80)
    model, _ = run("gradient_ascent", descent, training=training, sets=sets, model=tiny_model(dtype=torch.float32))
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def fresh(learned):
    model = tiny_model(dtype=torch.float32)
    model.load_state_dict(learned)
    return model


def settings(**changes):
    return plain_training(
        **{"tune": "auto", "optimizer": "adamw", "learning_rate": 1e-3, "epochs": 8, "records_per_step": 3}
        | {"scheduler": "linear", "snapshot_every": 0, "gradient_clip": 1.0}
        | changes
    )


@pytest.mark.parametrize("method", ["calibrated", "gradient_ascent", "rmu"])
def test_a_tuned_training_reports_its_rate_and_its_end_and_is_repeatable(method, learned):
    outcomes = []
    for _ in range(2):
        events = []
        model, result = run(method, training=settings(), sets=known_sets(), model=fresh(learned), events=events)
        outcomes.append((weights(model), result, [event for event in events if event.kind in ("tuned", "trained")]))
    (first, result, (rate, end)), (second, *_) = outcomes
    assert outcomes[0][1:] == outcomes[1][1:]
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))
    assert rate.kind == "tuned"
    assert end.step == result.steps <= end.steps == 16
    assert 0 < end.best_step <= end.step
    rates = [event.values["learning_rate"] for event in events if event.kind == "curve"]
    assert rates[0] == rate.learning_rate


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("calibrated", {}),
        ("calibrated", {"conflicting_gradients": "project"}),
        ("gradient_ascent", {}),
        ("ascent_kl", {"relearning_defence": "attacker", "conflicting_gradients": "project"}),
    ],
)
def test_a_tuned_training_paused_after_every_step_ends_like_an_undisturbed_one(method, changes, learned, tmp_path):
    training = settings(epochs=3, **changes)
    undisturbed, result = run(method, training=training, sets=known_sets(), model=fresh(learned))
    for fence in range(1, 30):
        events = []
        snapshots = Snapshots(tmp_path, fence, Fingerprint({}, b""), key=bytes(32), report=events.append)

        def one_more(events=events):
            return any(event.kind == "progress" for event in events)

        model = fresh(learned)
        try:
            _, resumed = run(
                method,
                training=training,
                sets=known_sets(),
                model=model,
                events=events,
                should_pause=one_more,
                snapshots=snapshots,
            )
        except JobPaused:
            assert sum(event.kind == "tuned" for event in events) == (fence == 1), "the test is made once"
            continue
        break
    assert resumed == result
    assert all(a.equal(b) for a, b in zip(weights(model), weights(undisturbed), strict=True))


def test_a_training_without_a_better_state_fails_and_says_so(learned):
    with pytest.raises(CoreError, match="no_better_state"):
        run("gradient_ascent", {"forget_weight": 0.0}, training=settings(), sets=known_sets(), model=fresh(learned))


def test_text_that_the_model_does_not_know_is_left_alone_only_where_the_job_says_so(learned):
    sets = known_sets()
    sets.forget = [record.model_copy(update={"text": record.text[::-1]}) for record in records(1, seed=77)]
    before = weights(fresh(learned))
    model = fresh(learned)
    with pytest.raises(NothingToForget):
        run("calibrated", training=settings(), sets=sets, model=model, leave_unknown=True)
    assert all(a.equal(b) for a, b in zip(weights(model), before, strict=True))
    _, result = run("gradient_ascent", training=settings(), sets=sets, model=fresh(learned))
    assert result.steps > 0


def test_a_request_without_a_learning_rate_is_tuned():
    def tune(method, **given):
        request = TrainingRequest.model_validate(given)
        return fill_training(request, method, parameters=10**6, forget_records=5).tune

    assert {name for name in METHODS if tune(name) == "off"} == {"task_vector"}
    assert tune("npo", learning_rate=1e-4) == "off"
    assert tune("npo", learning_rate=1e-4, tune="auto") == "auto"
    assert tune("npo", tune="off") == "off"
