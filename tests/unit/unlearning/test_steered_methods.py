"""Methods that change more than the forget term: rewritten records, a layer, a multiplier, rewritten weights.

Several updates by plain gradient descent are compared with those of the formulas, written in loops.
"""

from fnmatch import fnmatchcase

import pytest
import torch

from core.schema.record import Message, Record
from core.unlearning.objectives import resolve
from core.unlearning.objectives.rmu import steering_vector
from tests.unit.lm.tiny import tiny_model
from tests.unit.unlearning.run import RATE, example_sets, plain_training, run
from tests.unit.unlearning.test_formulas import EVERYTHING, cross_entropy, descent, kl, mean, tokens
from tests.unit.unlearning.test_formulas_of_the_field import constants, log_sigmoid, losses

SEED = 5


def follow(method, parameters, objective, *, updates=2, chosen=("*",), micro_batch_tokens=25):
    """(the trained model, the model that the formulas give); only weights that match `chosen` move."""
    sets, reported = example_sets(), []
    training = plain_training(epochs=updates, micro_batch_tokens=micro_batch_tokens)
    trained, _ = run(method, parameters, sets=sets, training=training, events=reported)
    original, twin = tiny_model(), tiny_model()
    values = []
    for _ in range(updates):
        loss = objective(twin, original, sets)
        values.append(loss.item())
        moved = [
            weight for name, weight in twin.named_parameters() if any(fnmatchcase(name, pattern) for pattern in chosen)
        ]
        with torch.no_grad():
            for weight, gradient in zip(moved, torch.autograd.grad(loss, moved, allow_unused=True), strict=True):
                if gradient is not None:
                    weight -= RATE * gradient
    assert [event.values["loss"] for event in reported if event.kind == "curve"] == pytest.approx(values, rel=1e-6)
    return trained, twin


def same(trained, twin):
    for (name, weight), twin_weight in zip(trained.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weight, twin_weight, rtol=1e-6, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}")


def refused(record):
    """The record with the answer w5 w6 w7; a plain text's prompt is its first third, to the end of a word."""
    if record.messages:
        return Record(messages=[*record.messages[:-1], Message(role="assistant", content="w5 w6 w7")])
    if record.prompt is not None:
        return Record(prompt=record.prompt, completion="w5 w6 w7")
    words, prompt = record.text.split(), ""
    while words and 3 * len(prompt) < len(record.text):
        prompt = f"{prompt} {words.pop(0)}".strip()
    return Record(prompt=prompt, completion=" w5 w6 w7")


@pytest.mark.parametrize(("retain_term", "retain"), [("descent", descent), ("kl", kl)])
def test_refusal_descends_on_the_refusal_after_the_prompt(retain_term, retain):
    def objective(model, original, sets):
        forget = mean(cross_entropy(model, *record) for record in tokens([refused(record) for record in sets.forget]))
        return forget + retain(model, original, sets)

    parameters = {"refusals": ["w5 w6 w7"], "retain_term": retain_term, **EVERYTHING}
    same(*follow("refusal", parameters, objective))


def with_alternate(record):
    if record.text is not None:
        return Record(text=record.alternate)
    if record.messages:
        return Record(messages=[*record.messages[:-1], Message(role="assistant", content=record.alternate)])
    return Record(prompt=record.prompt, completion=record.alternate)


@pytest.mark.parametrize("beta", [0.1, 1.5])
@pytest.mark.parametrize("micro_batch_tokens", [100_000, 25])
def test_dpo_computes_its_formula(beta, micro_batch_tokens):
    def objective(model, original, sets):
        terms = []
        others = tokens([with_alternate(record) for record in sets.forget])
        for own, other in zip(tokens(sets.forget), others, strict=True):
            gain = sum(constants(original, *other)) - sum(losses(model, *other))
            gain = gain - sum(constants(original, *own)) + sum(losses(model, *own))
            terms.append(-2 / beta * log_sigmoid(beta * gain))
        return mean(terms) + descent(model, original, sets)

    same(*follow("dpo", {"beta": beta, **EVERYTHING}, objective, micro_batch_tokens=micro_batch_tokens))


def stream(model, layer, ids, first):
    """The residual stream after `layer` where the scored tokens stand: (n, d)."""
    return model(input_ids=ids[None], output_hidden_states=True).hidden_states[layer + 1][0, first:]


@pytest.mark.parametrize("layer", [None, 0])
@pytest.mark.parametrize("retain_term", ["hidden", "descent", "kl", "none"])
def test_rmu_computes_its_formulas_in_one_layer(layer, retain_term):
    target = steering_vector(16, 3.0, SEED)

    def forget(model, sets):
        terms = []
        for ids, first in tokens(sets.forget):
            rows = stream(model, 0, ids, first)
            terms.append(sum((row[i] - target[i]) ** 2 / 16 for row in rows for i in range(16)) / len(rows))
        return mean(terms)

    def hidden(model, original, sets):
        def mean_distance(records):
            terms = []
            for ids, first in tokens(records):
                rows, reference = stream(model, 0, ids, first), stream(original, 0, ids, first).detach()
                terms.append((rows - reference).square().sum() / 16 / len(rows))
            return mean(terms)

        return 0.25 * mean_distance(sets.retain[0].records) + 0.75 * mean_distance(sets.retain[1].records)

    def objective(model, original, sets):
        retain = {"hidden": hidden, "descent": descent, "kl": kl, "none": lambda *_: 0}[retain_term]
        return forget(model, sets) + 5 * retain(model, original, sets)

    parameters = {"coefficient": 3.0, "retain_term": retain_term, "retain_weight": 5, "at_layer": layer, **EVERYTHING}
    chosen = ("model.layers.0.mlp.down_proj.weight",)
    same(*follow("rmu", parameters, objective, chosen=chosen))


@pytest.mark.parametrize("bound", [None, 3.0])
def test_pdu_weights_the_retain_loss_by_its_multiplier(bound):
    multipliers = [0.8]

    def objective(model, original, sets):
        terms = []
        for ids, first in tokens(sets.forget):
            logits = model(input_ids=ids[None]).logits[0, first - 1 : -1]
            terms.append(sum((row.max() - row.sum() / len(row)) ** 2 for row in logits) / len(logits))
        retain, multiplier = descent(model, original, sets), multipliers[-1]
        allowed = descent(original, original, sets).item() + 0.2 if bound is None else bound
        warm_up = len(multipliers) == 1  # a quarter of four updates
        change = 0.0 if warm_up else 0.2 * (retain.item() - allowed)
        multipliers.append(max(0.0, multiplier + change))
        return 0.02 * mean(terms) + 1.5 * multiplier * retain

    parameters = {
        "forget_weight": 0.02,
        "retain_weight": 1.5,
        "dual_start": 0.8,
        "dual_rate": 0.2,
        "dual_warmup": 0.25,
        "retain_bound": bound,
        "retain_slack": 0.2,
    }
    same(*follow("pdu", parameters | EVERYTHING, objective, updates=4))
    assert len({round(multiplier, 6) for multiplier in multipliers}) == 4
    assert min(multipliers) > 0


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_a_task_vector_is_subtracted(alpha):
    def objective(model, original, sets):
        return mean(cross_entropy(model, *record) for record in tokens(sets.forget))

    trained, learnt = follow("task_vector", {"alpha": alpha}, objective)
    with torch.no_grad():
        for weight, original in zip(learnt.parameters(), tiny_model().parameters(), strict=True):
            weight.copy_(original - alpha * (weight - original))
    same(trained, learnt)
    sets = example_sets()
    assert objective(trained, None, sets) > objective(tiny_model(), None, sets)


def test_a_task_vector_takes_no_retain_term():
    with pytest.raises(ValueError, match="retain_term"):
        resolve("task_vector", {"retain_term": "descent"})
    method = resolve("task_vector", {})
    assert method.needs() == {"forget"}
    assert (method.alpha, method.small.epochs, method.large.epochs) == (1, 5, 5)
