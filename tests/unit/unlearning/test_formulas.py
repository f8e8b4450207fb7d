"""Every objective against its formula, written naively: record by record, token by token, in float64.

The trainer makes two full-batch updates by plain gradient descent; the naive twin makes the same two from the formulas.
At the first update KL has no gradient, at the second it has. The tolerance is that of transformers in float64: its
Llama normalises and rotates in float32.
"""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from core.lm.data import encode
from core.lm.forward import Forward
from core.unlearning import accumulation
from core.unlearning.objectives.random_label import uniform_labels
from core.unlearning.rehearsal import rehearse
from core.unlearning.spliced_texts import splice
from core.unlearning.token_runs import chunk_runs
from tests.unit.lm.tiny import VOCABULARY, tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import RATE, example_sets, plain_training, run

EVERYTHING = {"retain_ratio": 100.0}
SEED = 5


def tokens(records):
    """(ids, first scored position) of each record: no record is cut into chunks, and the scored tokens are its last."""
    chunks = encode(records, tiny_tokenizer(), max_length=64, chat="raw")
    assert [chunk.record for chunk in chunks] == list(range(len(records)))
    return [scored_end(chunk) for chunk in chunks]


def log_p(model, ids, first):
    """log p(. | x_<t) for t = first..T-1: (n, V)."""
    return torch.log_softmax(model(input_ids=ids[None]).logits[0], -1)[first - 1 : -1]


def cross_entropy(model, ids, first):
    rows = log_p(model, ids, first)
    return -sum(rows[place, token] for place, token in enumerate(ids[first:].tolist())) / len(rows)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def ascent(model, original, sets, epoch):
    return -mean(cross_entropy(model, *record) for record in tokens(sets.forget))


def labelled(model, sets, labels):
    """mean_x (1/n) sum_t -log p(r_t | x_<t) for the labels r of all tokens in order."""
    labels = iter(labels)
    terms = []
    for ids, first in tokens(sets.forget):
        rows = log_p(model, ids, first)
        terms.append(-sum(row[next(labels)] for row in rows) / len(rows))
    return mean(terms)


def uniform(draws):
    def formula(model, original, sets, epoch):
        count = sum(len(ids) - first for ids, first in tokens(sets.forget))
        vocabulary = torch.arange(3, VOCABULARY)
        return labelled(model, sets, uniform_labels(vocabulary, count, seed=SEED, epoch=draws[epoch]).tolist())

    return formula


def random_model(model, original, sets, epoch):
    torch.manual_seed(SEED * 1_000_003)
    untrained = AutoModelForCausalLM.from_config(copy.deepcopy(model.config), dtype=torch.float64).eval()
    terms = []
    for ids, first in tokens(sets.forget):
        with torch.no_grad():
            soft = log_p(untrained, ids, first).exp()
        terms.append(-(soft * log_p(model, ids, first)).sum() / len(soft))
    return mean(terms)


def adversarial(model, original, sets, epoch):
    labels = []
    for ids, first in tokens(sets.forget):
        for row, token in zip(log_p(original, ids, first).tolist(), ids[first:].tolist(), strict=True):
            labels.append(max((a for a in range(VOCABULARY) if a != token), key=row.__getitem__))
    return labelled(model, sets, labels)


def token_losses(model, ids, first):
    rows = log_p(model, ids, first)
    return [-rows[place, token] for place, token in enumerate(ids[first:].tolist())]


def unseen_halves(original, records):
    """(for the unseen term, for moving targets): alternate records by mean loss under the reference model."""
    means = [mean(token_losses(original, *record)).item() for record in tokens(records)]
    order = sorted(range(len(records)), key=means.__getitem__)
    return [records[place] for place in sorted(order[1::2])], [records[place] for place in sorted(order[::2])]


def token_entropies(model, ids, first):
    return [-(row.exp() * row).sum() for row in log_p(model, ids, first)]


def huber(distance, smoothing):
    return distance**2 / (2 * smoothing) if distance < smoothing else distance - smoothing / 2


def distance(values, reference, current, following, smoothing):
    """The mean cost of the distance of sorted values from targets: another record's values under both models."""
    values = sorted(values, key=torch.Tensor.item)
    reference, current = (sorted(value.item() for value in other) for other in (reference, current))
    places = [int((i + 0.5) / len(values) * len(reference)) for i in range(len(values))]
    targets = [(1 - following) * reference[place] + following * current[place] for place in places]
    costs = [huber(abs(value - target), smoothing) for value, target in zip(values, targets, strict=True)]
    return sum(costs) / len(values)


def partners(original, forget, unseen):
    """The unseen record of each forget record's rank; None where the original finds it no likelier than that."""

    def by_loss(records):
        return sorted(records, key=lambda record: mean(token_losses(original, *record)).item())

    moved = by_loss(forget)
    while True:
        ranked = {id(x): by_loss(unseen)[int((r + 0.5) / len(moved) * len(unseen))] for r, x in enumerate(moved)}
        likelier = [x for x in moved if mean(token_losses(original, *x)) < mean(token_losses(original, *ranked[id(x)]))]
        if len(likelier) == len(moved):
            return [ranked.get(id(x)) for x in forget]
        moved = likelier


def distance_to_targets(model, original, sets, target_records, following, entropy_weight, smoothing):
    forget, unseen = tokens(sets.forget), tokens(target_records)
    terms = []
    for record, partner in zip(forget, partners(original, forget, unseen), strict=True):
        if partner is None:
            terms.append(torch.zeros(()))
            continue
        losses, entropies = (
            distance(value(model, *record), value(original, *partner), value(model, *partner), following, smoothing)
            for value in (token_losses, token_entropies)
        )
        terms.append(losses + entropy_weight * entropies)
    return mean(terms)


def calibrated(model, original, sets, epoch):
    return distance_to_targets(model, original, sets, sets.unseen, 0.0, 0.0, 0.5)


def calibrated_moving(share, entropy_weight, smoothing=0.5):
    def formula(model, original, sets, epoch):
        return distance_to_targets(
            model, original, sets, unseen_halves(original, sets.unseen)[1], share, entropy_weight, smoothing
        )

    return formula


def with_others_kept(weight, power, formula):
    """The formula, and `weight` times the KL to the original to a power among all tokens but the true one."""

    def total(model, original, sets, epoch):
        terms = []
        for ids, first in tokens(sets.forget):
            rows, kept = log_p(model, ids, first).exp(), log_p(original, ids, first).exp().detach() ** power
            divergences = []
            for place, token in enumerate(ids[first:].tolist()):
                others = [other for other in range(rows.shape[1]) if other != token]
                p, p0 = rows[place, others] / rows[place, others].sum(), kept[place, others] / kept[place, others].sum()
                divergences.append(sum(p0 * (p0.log() - p.log())))
            terms.append(mean(divergences))
        return formula(model, original, sets, epoch) + weight * mean(terms)

    return total


def divergence(model, original, ids, first):
    log_p0, log_p1 = log_p(original, ids, first).detach(), log_p(model, ids, first)
    return (log_p0.exp() * (log_p0 - log_p1)).sum() / len(log_p0)


def mean_kl(model, original, records):
    return mean(divergence(model, original, *record) for record in tokens(records))


def kl(model, original, sets):
    """The two retain sets weigh 1 and 3."""
    return 0.25 * mean_kl(model, original, sets.retain[0].records) + 0.75 * mean_kl(
        model, original, sets.retain[1].records
    )


def descent(model, original, sets):
    terms = [mean(cross_entropy(model, *record) for record in tokens(retain.records)) for retain in sets.retain]
    return 0.25 * terms[0] + 0.75 * terms[1]


def kl_and_unseen(model, original, sets):
    return kl(model, original, sets) + 0.7 * mean_kl(model, original, sets.unseen)


def kl_and_half_of_unseen(model, original, sets):
    return kl(model, original, sets) + 0.7 * mean_kl(model, original, unseen_halves(original, sets.unseen)[0])


def scored_end(chunk):
    """(ids, first scored position) of a chunk whose scored tokens are its last."""
    first = int(chunk.scored.long().argmax())
    assert bool(chunk.scored[first:].all())
    return chunk.ids, first


def kl_and_unseen_rehearsal_and_spliced(model, original, sets):
    forget, *others = (
        encode(records, tiny_tokenizer(), max_length=64, chat="raw")
        for records in (sets.forget, *(retain.records for retain in sets.retain), sets.unseen)
    )
    samples = rehearse(
        Forward(original),
        tiny_tokenizer(),
        texts=9,
        temperature=1.5,
        first_temperature=0.7,
        seed=SEED,
        forget=forget,
        unseen=others[-1],
        retain_chunks=[chunk for other in others for chunk in other],
        max_tokens=100_000,
        should_stop=lambda: False,
    )
    assert len(samples) > 5
    rehearsal = mean(divergence(model, original, ids, first) for ids, first in map(scored_end, samples))
    texts = [[chunk.ids.tolist() for chunk in chunks] for chunks in (samples, others[-1])]
    forgotten = chunk_runs(forget) - chunk_runs(chunk for other in others for chunk in other)
    spliced = splice(*texts, 12, repetitions=forgotten, seed=SEED)
    assert len(spliced) == 12
    crossed = mean(divergence(model, original, ids, first) for ids, first in map(scored_end, spliced))
    return kl_and_unseen(model, original, sets) + 1.7 * rehearsal + 0.9 * crossed


NONE = None
UNSEEN = {"retain_weight": 1.0, "unseen_weight": 0.7, "unseen_ratio": 100.0}
FIXED_TARGETS = {"following": 0.0, "entropy_weight": 0.0}
ALONE = {"retain_term": "none", "unseen_weight": 0.0, "rehearsal_weight": 0.0, "others_weight": 0.0}
WITHOUT_REHEARSAL = {**UNSEEN, "rehearsal_weight": 0.0, "others_weight": 0.0}
REHEARSAL = {
    "rehearsal_weight": 1.7,
    "rehearsal_ratio": 100.0,
    "rehearsal_texts": 9,
    "rehearsal_temperature": 1.5,
    "rehearsal_first_temperature": 0.7,
    "spliced_weight": 0.9,
    "spliced_ratio": 100.0,
    "spliced_texts": 12,
}
CASES = [
    ("gradient_ascent", {}, 1.0, ascent, NONE, 1.0),
    ("gradient_ascent", {"forget_weight": 0.3}, 0.3, ascent, NONE, 1.0),
    ("gradient_ascent", {"retain_term": "kl", **EVERYTHING}, 1.0, ascent, kl, 1.0),
    ("random_label", {}, 1.0, uniform([0, 0]), NONE, 1.0),
    ("random_label", {"redraw": "every_epoch"}, 1.0, uniform([0, 1]), NONE, 1.0),
    ("random_label", {"reference": "random_model"}, 1.0, random_model, NONE, 1.0),
    ("random_label", {"retain_term": "descent", **EVERYTHING}, 1.0, uniform([0, 0]), descent, 1.0),
    ("adversarial_label", {}, 1.0, adversarial, NONE, 1.0),
    ("ascent_descent", EVERYTHING, 1.0, ascent, descent, 1.0),
    ("ascent_descent", {"retain_weight": 2.5, **EVERYTHING}, 1.0, ascent, descent, 2.5),
    ("ascent_kl", EVERYTHING, 1.0, ascent, kl, 1.0),
    ("ascent_kl", {"retain_weight": 4.0, "forget_weight": 0.5, **EVERYTHING}, 0.5, ascent, kl, 4.0),
    ("calibrated", {**ALONE, **FIXED_TARGETS}, 1.0, calibrated, NONE, 1.0),
    ("calibrated", {**ALONE, "following": 0.6, "entropy_weight": 0.7}, 1.0, calibrated_moving(0.6, 0.7), NONE, 1.0),
    *(
        (
            "calibrated",
            {**ALONE, **FIXED_TARGETS, "others_weight": 0.8, "others_power": power},
            1.0,
            with_others_kept(0.8, power, calibrated),
            NONE,
            1.0,
        )
        for power in (1.0, 2.0)
    ),
    (
        "calibrated",
        {**ALONE, "following": 0.6, "entropy_weight": 0.7, "smoothing": 0.0},
        1.0,
        calibrated_moving(0.6, 0.7, 0.0),
        NONE,
        1.0,
    ),
    (
        "calibrated",
        {**WITHOUT_REHEARSAL, **EVERYTHING, "following": 1.0, "entropy_weight": 0.0},
        1.0,
        calibrated_moving(1.0, 0.0),
        kl_and_half_of_unseen,
        1.0,
    ),
    ("calibrated", {**WITHOUT_REHEARSAL, **EVERYTHING, **FIXED_TARGETS}, 1.0, calibrated, kl_and_unseen, 1.0),
    (
        "calibrated",
        {**UNSEEN, **REHEARSAL, **EVERYTHING, **FIXED_TARGETS, "others_weight": 0.0},
        1.0,
        calibrated,
        kl_and_unseen_rehearsal_and_spliced,
        1.0,
    ),
]


@pytest.mark.parametrize(("method", "parameters", "forget_weight", "forget", "retain", "retain_weight"), CASES)
@pytest.mark.parametrize("micro_batch_tokens", [100_000, 25])
def test_two_updates_follow_the_formula(
    method, parameters, forget_weight, forget, retain, retain_weight, micro_batch_tokens
):
    sets = example_sets()
    reported = []
    trained, result = run(
        method,
        parameters,
        sets=sets,
        training=plain_training(micro_batch_tokens=micro_batch_tokens),
        events=reported,
    )
    assert result.steps == 2

    original, twin = tiny_model(), tiny_model()
    losses = []
    for epoch in range(2):
        loss = forget_weight * forget(twin, original, sets, epoch)
        if retain is not NONE:
            loss = loss + retain_weight * retain(twin, original, sets)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(twin.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(twin.parameters(), gradients, strict=True):
                weight -= RATE * gradient
    for (name, weight), twin_weight in zip(trained.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, twin_weight, rtol=1e-6, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}")
    assert [event.values["loss"] for event in reported if event.kind == "curve"] == pytest.approx(losses, rel=2e-7)


def test_kl_is_zero_before_the_first_update():
    reported = []
    run("ascent_kl", EVERYTHING, events=reported)
    first, second = [event.values["retain_loss"] for event in reported if event.kind == "curve"]
    assert first == pytest.approx(0, abs=1e-12)
    assert second > 1e-6


def test_a_step_has_retain_records_by_ratio_and_of_each_set_by_weight(monkeypatch):
    """Retain sets of weights 1 and 3, two retain records per forget record, two forget records a step: 1 and 3."""
    drawn = []
    accumulate = accumulation.accumulate_gradient

    def watched(forward, batches, **arguments):
        drawn.append([(weighted.name, len(records)) for weighted, records in batches])
        return accumulate(forward, batches, **arguments)

    monkeypatch.setattr(accumulation, "accumulate_gradient", watched)
    parameters = {"retain_ratio": 2.0, "unseen_ratio": 1.5, "rehearsal_ratio": 0.5, "spliced_ratio": 1.0}
    run("calibrated", parameters, training=plain_training(epochs=1, records_per_step=2))
    assert drawn == [[("forget", 2), ("retain", 1), ("retain", 3), ("unseen", 3), ("rehearsal", 1), ("spliced", 2)]] * 3
