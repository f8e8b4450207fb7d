"""Every objective against its formula written naively: record by record, token by token, in float64.

The trainer makes two full-batch updates by plain gradient descent; the twin makes the same two from the formulas. At
the first update KL has no gradient, at the second it has. The tolerance is what transformers leaves of float64: its
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
from tests.unit.lm.tiny import VOCABULARY, tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import RATE, plain_training, run, some_sets

EVERYTHING = {"retain_ratio": 100.0}
SEED = 5


def tokens(records):
    """(ids, first scored position) of each record: none of these is cut, and scored tokens are its last ones."""
    chunks = encode(records, tiny_tokenizer(), max_length=64, chat="raw")
    assert [chunk.record for chunk in chunks] == list(range(len(records)))
    return [(chunk.ids, int(chunk.scored.long().argmax())) for chunk in chunks]


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
    return -mean(cross_entropy(model, *one) for one in tokens(sets.forget))


def labelled(model, sets, labels):
    """mean_x (1/n) sum_t -log p(r_t | x_<t) for labels given one after the other."""
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


def token_losses(of, ids, first):
    rows = log_p(of, ids, first)
    return [-rows[place, token] for place, token in enumerate(ids[first:].tolist())]


def held_and_followed(original, records):
    """Every other record by its mean loss under the original: held are the second, the fourth, and so on."""
    means = [mean(token_losses(original, *one)).item() for one in tokens(records)]
    order = sorted(range(len(records)), key=means.__getitem__)
    return [records[place] for place in sorted(order[1::2])], [records[place] for place in sorted(order[::2])]


def token_entropies(of, ids, first):
    return [-(row.exp() * row).sum() for row in log_p(of, ids, first)]


def distance(have, was, now, following):
    """The mean distance of sorted values from those of another record, a share of them as they are now."""
    have = sorted(have, key=torch.Tensor.item)
    was, now = (sorted(value.item() for value in values) for values in (was, now))
    places = [int((i + 0.5) / len(have) * len(was)) for i in range(len(have))]
    wanted = [(1 - following) * was[place] + following * now[place] for place in places]
    return sum(abs(mine - target) for mine, target in zip(have, wanted, strict=True)) / len(have)


def to_targets(model, original, sets, yardsticks, following, entropy_weight):
    forget, unseen = tokens(sets.forget), tokens(yardsticks)
    ranked = sorted(range(len(forget)), key=lambda x: mean(token_losses(original, *forget[x])).item())
    of_unseen = sorted(range(len(unseen)), key=lambda u: mean(token_losses(original, *unseen[u])).item())
    terms = []
    for x, one in enumerate(forget):
        partner = unseen[of_unseen[int((ranked.index(x) + 0.5) / len(forget) * len(unseen))]]
        losses, entropies = (
            distance(of(model, *one), of(original, *partner), of(model, *partner), following)
            for of in (token_losses, token_entropies)
        )
        terms.append(losses + entropy_weight * entropies)
    return mean(terms)


def calibrated(model, original, sets, epoch):
    return to_targets(model, original, sets, sets.unseen, 0.0, 0.0)


def calibrated_following(share, entropy_weight):
    def formula(model, original, sets, epoch):
        return to_targets(model, original, sets, held_and_followed(original, sets.unseen)[1], share, entropy_weight)

    return formula


def divergence(model, original, ids, first):
    was, now = log_p(original, ids, first).detach(), log_p(model, ids, first)
    return (was.exp() * (was - now)).sum() / len(was)


def held_kl(model, original, records):
    return mean(divergence(model, original, *one) for one in tokens(records))


def kl(model, original, sets):
    """The two retain sets weigh 1 and 3."""
    return 0.25 * held_kl(model, original, sets.retain[0].records) + 0.75 * held_kl(
        model, original, sets.retain[1].records
    )


def descent(model, original, sets):
    terms = [mean(cross_entropy(model, *one) for one in tokens(some.records)) for some in sets.retain]
    return 0.25 * terms[0] + 0.75 * terms[1]


def kl_and_unseen(model, original, sets):
    return kl(model, original, sets) + 0.7 * held_kl(model, original, sets.unseen)


def kl_and_half_of_unseen(model, original, sets):
    return kl(model, original, sets) + 0.7 * held_kl(model, original, held_and_followed(original, sets.unseen)[0])


def kl_and_unseen_and_rehearsed(model, original, sets):
    forget, *others = (
        encode(some, tiny_tokenizer(), max_length=64, chat="raw")
        for some in (sets.forget, *(one.records for one in sets.retain), sets.unseen)
    )
    samples = rehearse(
        Forward(original),
        tiny_tokenizer(),
        texts=9,
        temperature=1.5,
        seed=SEED,
        forget=forget,
        others=[chunk for other in others for chunk in other],
        max_tokens=100_000,
        should_stop=lambda: False,
    )
    assert len(samples) > 5
    held = mean(divergence(model, original, sample.ids, 1) for sample in samples)
    return kl_and_unseen(model, original, sets) + 1.7 * held


NONE = None
UNSEEN = {"retain_weight": 1.0, "unseen_weight": 0.7, "unseen_ratio": 100.0}
STILL = {"following": 0.0, "entropy_weight": 0.0}
ALONE = {"retain_term": "none", "unseen_weight": 0.0, "rehearsal_weight": 0.0}
HELD = {**UNSEEN, "rehearsal_weight": 0.0}
REHEARSED = {"rehearsal_weight": 1.7, "rehearsal_ratio": 100.0, "rehearsal_texts": 9, "rehearsal_temperature": 1.5}
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
    ("calibrated", {**ALONE, **STILL}, 1.0, calibrated, NONE, 1.0),
    ("calibrated", {**ALONE, "following": 0.6, "entropy_weight": 0.7}, 1.0, calibrated_following(0.6, 0.7), NONE, 1.0),
    (
        "calibrated",
        {**HELD, **EVERYTHING, "following": 1.0, "entropy_weight": 0.0},
        1.0,
        calibrated_following(1.0, 0.0),
        kl_and_half_of_unseen,
        1.0,
    ),
    ("calibrated", {**HELD, **EVERYTHING, **STILL}, 1.0, calibrated, kl_and_unseen, 1.0),
    (
        "calibrated",
        {**UNSEEN, **REHEARSED, **EVERYTHING, **STILL},
        1.0,
        calibrated,
        kl_and_unseen_and_rehearsed,
        1.0,
    ),
]


@pytest.mark.parametrize(("method", "parameters", "forget_weight", "forget", "retain", "retain_weight"), CASES)
@pytest.mark.parametrize("micro_batch_tokens", [100_000, 25])
def test_two_updates_follow_the_formula(
    method, parameters, forget_weight, forget, retain, retain_weight, micro_batch_tokens
):
    sets = some_sets()
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
    for (name, found), wanted in zip(trained.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}")
    assert [event.values["loss"] for event in reported if event.kind == "curve"] == pytest.approx(losses, rel=2e-7)


def test_the_same_model_has_no_kl_to_lose():
    reported = []
    run("ascent_kl", EVERYTHING, events=reported)
    first, second = [event.values["retain_loss"] for event in reported if event.kind == "curve"]
    assert first == pytest.approx(0, abs=1e-12)
    assert second > 1e-6


def test_retain_records_enter_by_their_ratio_and_sets_by_their_weight(monkeypatch):
    """Retain sets of weights 1 and 3, two retain records per forget record, two forget records a step: 1 and 3."""
    drawn = []
    accumulate = accumulation.accumulate_gradient

    def watched(forward, batches, **arguments):
        drawn.append([(weighted.name, len(records)) for weighted, records in batches])
        return accumulate(forward, batches, **arguments)

    monkeypatch.setattr(accumulation, "accumulate_gradient", watched)
    parameters = {"retain_ratio": 2.0, "unseen_ratio": 1.5, "rehearsal_ratio": 0.5}
    run("calibrated", parameters, training=plain_training(epochs=1, records_per_step=2))
    assert drawn == [[("forget", 2), ("retain", 1), ("retain", 3), ("unseen", 3), ("rehearsal", 1)]] * 3
