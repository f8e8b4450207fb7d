"""Trainings with a defence against relearning, followed in float64 by plain loops."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.schema.training import Lora
from core.unlearning.accumulation import GradientAccumulator
from core.unlearning.forget_gradient import ForgetGradient
from core.unlearning.objective import WeightedTerm
from core.unlearning.objectives import METHODS, resolve
from core.unlearning.simulated_attacker import WEIGHT, SimulatedAttacker
from core.unlearning.step_plan import plan_steps
from core.unlearning.tokenized_set import TokenizedSet
from core.unlearning.training_conflicts import find_defence_conflict, find_projection_conflict
from tests.unit.lm.tiny import tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import RATE, example_sets, plain_training, run
from tests.unit.unlearning.test_formulas import EVERYTHING, SEED, ascent, cross_entropy, descent, mean, tokens
from tests.unit.unlearning.test_resuming import Attempts, same
from tests.unit.unlearning.test_selective_gradient import naive as naive_selection

DEFENCES = ("selective", "attacker", "both")


def gradients(model, loss):
    weights = list(model.parameters())
    return torch.autograd.grad(loss, weights, allow_unused=True)


def selected(model, gradient, rows):
    """The gradient of the layers' matrices with its largest directions held; others as they are."""
    chosen = []
    for (name, _), value in zip(model.named_parameters(), gradient, strict=True):
        directions = 0 if value is None else min(min(value.shape) // 6, rows // 10)
        matrix = value is not None and value.dim() == 2 and ".layers." in name and directions
        chosen.append(naive_selection(value, directions) if matrix else value)
    return chosen


def without_conflict(gradient, other):
    """The gradient without what points against the other one; both as lists of numbers."""
    product = sum(a * b for a, b in zip(gradient, other, strict=True))
    square = sum(b * b for b in other)
    return [a - product / square * b if product < 0 else a for a, b in zip(gradient, other, strict=True)]


def naive_training(defence, steps, *, project=False):
    """The trained weights of full-batch gradient descent on ascent and descent, with the defence."""
    model, sets = tiny_model(), example_sets()
    chunks = tokens(sets.forget)
    rows = [len(ids) - first for ids, first in chunks]
    weights = list(model.parameters())
    way = [torch.zeros_like(weight) for weight in weights]
    means = [torch.zeros_like(weight) for weight in weights]
    fork = np.random.default_rng([SEED, 0, 4])
    rate = math.exp(fork.uniform(math.log(0.5 * RATE), math.log(5 * RATE)))
    assert fork.integers(4, 17) >= steps  # one attack
    order = fork.permutation(len(chunks)).tolist()
    shown, others = order[: round(0.25 * len(chunks))], order[round(0.25 * len(chunks)) :]
    for update in range(steps):
        forget = gradients(model, ascent(model, None, sets, 0))
        if defence in ("selective", "both"):
            forget = selected(model, forget, sum(rows))
        retain = gradients(model, descent(model, None, sets))
        parts = [forget]
        if defence in ("attacker", "both"):
            attacked = copy.deepcopy(model)
            with torch.no_grad():
                for weight, step in zip(attacked.parameters(), way, strict=True):
                    weight += step
            relearned = gradients(attacked, mean(cross_entropy(attacked, *chunks[record]) for record in shown))
            with torch.no_grad():
                for weight, step, gradient in zip(attacked.parameters(), way, relearned, strict=True):
                    if gradient is not None:
                        weight -= rate * gradient.sign()
                        step -= rate * gradient.sign()
            weight = WEIGHT * min(1.0, (update + 1) / math.ceil(0.3 * steps))
            part = gradients(attacked, -weight * mean(cross_entropy(attacked, *chunks[record]) for record in others))
            if defence == "both":
                part = selected(model, part, sum(rows[record] for record in others))
            parts.append(part)
        with torch.no_grad():
            for number, weight in enumerate(weights):
                zero = torch.zeros_like(weight)
                forget = sum((part[number] for part in parts if part[number] is not None), zero)
                kept = zero if retain[number] is None else retain[number]
                means[number] = 0.9 * means[number] + 0.1 * kept
                if project and bool(means[number].any()):
                    flat = without_conflict(forget.flatten().tolist(), means[number].flatten().tolist())
                    forget = torch.tensor(flat, dtype=forget.dtype).reshape(forget.shape)
                weight -= RATE * (forget + kept)
    return weights


@pytest.mark.parametrize("gradients", ["add", "project"])
@pytest.mark.parametrize("defence", ["none", *DEFENCES])
def test_updates_agree_with_a_plain_loop(defence, gradients):
    training = plain_training(epochs=4, relearning_defence=defence, conflicting_gradients=gradients)
    model, _ = run("ascent_descent", EVERYTHING, training=training)
    expected = naive_training(defence, 4, project=gradients == "project")
    for weight, naive in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight, naive, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("changes", [{"relearning_defence": "both"}, {"conflicting_gradients": "project"}])
@pytest.mark.parametrize("micro_batch_tokens", [12, 40])
def test_a_changed_gradient_does_not_depend_on_the_micro_batches(micro_batch_tokens, changes):
    whole, cut = (
        run("calibrated", training=plain_training(micro_batch_tokens=tokens, **changes))[0]
        for tokens in (100_000, micro_batch_tokens)
    )
    for weight, expected in zip(cut.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)


def test_targets_that_move_are_those_of_the_attacked_model():
    """The calibrated term at the attacked weights aims at the losses that unseen text has there."""
    seen = []

    class Term:
        def update_targets(self, records):
            seen.append((list(records), [weight.detach().clone() for weight in model.parameters()]))

        def __call__(self, rows):
            return rows.loss

    model, sets = tiny_model(), example_sets()
    text = TokenizedSet.tokenize(sets.forget, tiny_tokenizer(), max_length=64, chat="raw", device=torch.device("cpu"))
    attacker = SimulatedAttacker(
        dict(model.named_parameters()),
        WeightedTerm("forget", text, Term(), 1.0),
        text,
        learning_rate=RATE,
        records_per_step=4,
        steps=5,
        seed=SEED,
    )
    before = [weight.detach().clone() for weight in model.parameters()]
    forward = Forward(model, autocast=None)
    accumulator = GradientAccumulator(100_000, report=lambda event: None)
    values, rows = attacker.gradient(forward, accumulator, 0)
    ((records, attacked),) = seen
    assert len(records) == 2
    assert rows == sum(len(ids) - first for number, (ids, first) in enumerate(tokens(sets.forget)) if number in records)
    assert set(values.terms) == {"relearned", "attacked_forget"}
    assert all(weight.equal(kept) for weight, kept in zip(model.parameters(), before, strict=True))
    for weight, kept, way in zip(attacked, before, attacker.way.values(), strict=True):
        torch.testing.assert_close(weight, kept + way, rtol=0, atol=1e-12)
        assert not weight.equal(kept)


def attack_starts(steps, records=8):
    """The updates at which an attack began, and whether each update had one."""
    model, sets = tiny_model(), example_sets()
    text = TokenizedSet.tokenize(sets.forget, tiny_tokenizer(), max_length=64, chat="raw", device=torch.device("cpu"))
    attacker = SimulatedAttacker(
        dict(model.named_parameters()),
        WeightedTerm("forget", text, lambda rows: rows.loss, 1.0),
        text,
        learning_rate=RATE,
        records_per_step=records,
        steps=steps,
        seed=SEED,
    )
    forward, accumulator = Forward(model, autocast=None), GradientAccumulator(100_000, report=lambda event: None)
    starts, attacked = [], []
    for _ in range(steps):
        attacked.append(attacker.gradient(forward, accumulator, 0) is not None)
        starts.append(attacker.state()["fork"])
        model.zero_grad()
    return starts, attacked


def test_the_attacked_gradient_yields_by_the_root_of_the_forget_terms_factor():
    gradients = []
    for factor in (1.0, 0.25, 0.0625):
        model = tiny_model()
        forward, training = Forward(model), plain_training(epochs=1, relearning_defence="attacker")
        plan = plan_steps(
            resolve("gradient_ascent", {}),
            forward,
            tiny_tokenizer(),
            training,
            example_sets(),
            report=lambda event: None,
            should_stop=lambda: False,
        )
        defence = ForgetGradient(GradientAccumulator(100_000, lambda event: None), plan, model, training, steps=1)
        plan.forget_factor = factor
        defence.accumulate(forward, plan.term_batches(0, 1, [0, 1]), epoch=0)
        gradients.append([weight.grad for weight in model.parameters()])
    for whole, quarter, sixteenth in zip(*gradients, strict=True):
        # whole = plain + attacked, quarter = plain / 4 + attacked / 2
        attacked = 4 * quarter - whole
        torch.testing.assert_close(sixteenth, (whole - attacked) / 16 + attacked / 4)
        assert attacked.abs().max() > 0


def test_attacks_begin_anew_and_not_before_a_tenth_of_the_updates():
    starts, attacked = attack_starts(60)
    assert attacked == [False] * 6 + [True] * 54
    forks = sorted(set(starts[6:]))
    lengths = [after - before for before, after in itertools.pairwise(forks)]
    assert len(lengths) >= 3
    assert all(4 <= length <= 16 for length in lengths)
    assert len(set(lengths)) > 1


def test_the_weight_of_the_attacked_gradient_rises_from_the_first_attack_on():
    """A tenth of 20 updates has none, then it takes six to rise to its whole."""
    model, sets = tiny_model(), example_sets()
    text = TokenizedSet.tokenize(sets.forget, tiny_tokenizer(), max_length=64, chat="raw", device=torch.device("cpu"))
    term = WeightedTerm("forget", text, lambda rows: rows.loss, 3.0)
    weights = dict(model.named_parameters())
    attacker = SimulatedAttacker(weights, term, text, learning_rate=RATE, records_per_step=8, steps=20, seed=SEED)
    forward, accumulator = Forward(model, autocast=None), GradientAccumulator(100_000, report=lambda event: None)
    factors = []
    for _ in range(12):
        attacked = attacker.gradient(forward, accumulator, 0)
        model.zero_grad()
        if attacked is not None:
            values, _ = attacked
            factors.append(values.loss / (3.0 * values.terms["attacked_forget"]))
    assert factors == pytest.approx([*(WEIGHT * step / 6 for step in range(1, 7)), *[WEIGHT] * 4])


def test_a_single_record_is_relearned_and_forgotten():
    sets = example_sets()
    sets.forget = sets.forget[:1]
    plain, defended = (
        run("ascent_descent", EVERYTHING, sets=sets, training=plain_training(relearning_defence=defence))[0]
        for defence in ("none", "attacker")
    )
    assert not all(a.equal(b) for a, b in zip(plain.parameters(), defended.parameters(), strict=True))


@pytest.mark.parametrize("method", ["refusal", "random_label", "npo"])
def test_an_attacker_relearns_the_records_themselves(method):
    """Whatever text the forget term trains on in their place."""
    events, sets = [], example_sets()
    run(method, sets=sets, training=plain_training(relearning_defence="attacker", epochs=1), events=events)
    fork = np.random.default_rng([SEED, 0, 4])
    fork.uniform(), fork.integers(4, 17)
    shown = fork.permutation(len(sets.forget)).tolist()[: round(0.25 * len(sets.forget))]
    original, chunks = tiny_model(), tokens(sets.forget)
    expected = mean(cross_entropy(original, *chunks[record]).item() for record in shown)
    (curve,) = [event for event in events if event.kind == "curve"]
    assert curve.values["relearned_loss"] == pytest.approx(expected, rel=1e-6)
    assert math.isfinite(curve.values["attacked_forget_loss"])


def test_tokens_of_the_attack_are_counted():
    counts = {
        defence: run("ascent_descent", training=plain_training(relearning_defence=defence, epochs=1))[1].tokens
        for defence in ("none", *DEFENCES)
    }
    lengths = [len(ids) for ids, _ in tokens(example_sets().forget)]
    assert counts["selective"] == counts["none"]
    # a quarter is relearned, the other records are forgotten: each once
    assert counts["attacker"] == counts["both"] == counts["none"] + sum(lengths)


@pytest.mark.parametrize("defence", DEFENCES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora": Lora(rank=16)},
        {"trainable": ["model.layers.1.*"]},
        {"optimizer": "sgd"},
        {"conflicting_gradients": "project"},
        {"conflicting_gradients": "project", "lora": Lora(rank=16)},
    ],
)
def test_a_paused_defended_training_ends_like_an_undisturbed_one(defence, changes, tmp_path):
    changes = {"epochs": 4, "relearning_defence": defence} | changes
    attempt = Attempts(tmp_path, "calibrated", **changes)
    undisturbed = attempt(keep=False)
    for step in (1, 3, 6):
        assert attempt(pause_after=step) == step
    assert same(attempt(), undisturbed)
    plain = Attempts(tmp_path / "plain", "calibrated", **changes | {"relearning_defence": "none"})(keep=False)
    assert not all(a.equal(b) for a, b in zip(plain[0], undisturbed[0], strict=True))


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("task_vector", {"relearning_defence": "selective"}, "nothing to defend"),
        ("npo", {"relearning_defence": "attacker", "master_weights": "bfloat16"}, "round away"),
    ],
)
def test_a_defence_that_does_not_go_with_the_training_is_refused(method, changes, message):
    with pytest.raises(CoreError, match=message) as caught:
        run(method, training=plain_training(**changes))
    assert caught.value.code == "two_choices"


@pytest.mark.parametrize(
    ("method", "gpus", "message"),
    [
        ("npo", 2, "one GPU"),
        ("task_vector", 1, "learns the forget set"),
        ("gradient_ascent", 1, "no retain term"),
    ],
)
def test_gradients_that_cannot_be_projected_are_refused(method, gpus, message):
    assert message in (find_projection_conflict("project", resolve(method, {}), gpus=gpus) or "")
    assert find_projection_conflict("add", resolve(method, {}), gpus=gpus) is None
    assert find_projection_conflict("project", resolve("calibrated", {}), gpus=1) is None


def test_several_gpus_cannot_share_a_defended_training():
    assert "one GPU" in (find_defence_conflict("selective", METHODS["npo"], master_weights="float32", gpus=2) or "")
    assert find_defence_conflict("none", METHODS["npo"], master_weights="float32", gpus=2) is None
    assert find_defence_conflict("both", METHODS["npo"], master_weights="float32", gpus=1) is None
