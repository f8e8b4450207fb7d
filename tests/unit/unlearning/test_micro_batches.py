"""An update does not depend on the division of its records into forwards."""

import pytest
import torch

from core.lm import chunked_head
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.unlearning import objective
from core.unlearning.objectives import METHODS
from tests.unit.lm.tiny import VOCABULARY, records, tiny_model
from tests.unit.unlearning.run import TrainingSets, example_sets, plain_training, run, weights


def long_text(stride):
    return " ".join(f"w{number % 90}" for number in range(0, 100 * stride, stride))


LONG = long_text(7)


def sets_with_long_records():
    return TrainingSets(
        forget=[
            *records(5, seed=1),
            Record(text=LONG, alternate="w3 w4 w5"),
            Record(prompt="w1 w2", completion=long_text(13), alternate=long_text(17)),
        ],
        retain=[RecordSet(name="retain", records=[*records(6, seed=2), Record(text=LONG)])],
        unseen=[*records(6, seed=3), Record(text=long_text(11))],
    )


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("sets", [example_sets, sets_with_long_records])
def test_updates_do_not_depend_on_the_micro_batch_size(method, sets):
    runs = [
        weights(run(method, sets=sets(), training=plain_training(micro_batch_tokens=limit, max_length=16))[0])
        for limit in (100_000, 1, 40, 120)
    ]
    for trained in runs[1:]:
        for weight, other in zip(runs[0], trained, strict=True):
            torch.testing.assert_close(other, weight, rtol=1e-6, atol=1e-7)


def test_no_forward_is_larger_than_its_limit(monkeypatch):
    sizes = []
    hidden = objective.Forward.hidden

    def watched(self, chunks):
        sizes.append(sum(len(chunk.ids) for chunk in chunks))
        return hidden(self, chunks)

    monkeypatch.setattr(objective.Forward, "hidden", watched)
    run("calibrated", sets=sets_with_long_records(), training=plain_training(micro_batch_tokens=64, max_length=16))
    assert max(sizes) <= 64


@pytest.mark.parametrize("method", list(METHODS))
def test_updates_do_not_depend_on_the_slices_of_logits(method, monkeypatch):
    """Slices of three rows are smaller than any record, so that whole-record terms are linearized."""
    whole = weights(run(method, sets=sets_with_long_records())[0])
    monkeypatch.setattr(chunked_head, "LOGITS_PER_SLICE", 3 * VOCABULARY)
    for weight, other in zip(whole, weights(run(method, sets=sets_with_long_records())[0]), strict=True):
        torch.testing.assert_close(other, weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "rmu"])
def test_an_update_never_makes_more_logits_than_a_slice_holds(method, monkeypatch):
    rows = []
    logits = chunked_head.head_logits
    monkeypatch.setattr(chunked_head, "LOGITS_PER_SLICE", 3 * VOCABULARY)
    monkeypatch.setattr(
        chunked_head, "head_logits", lambda hidden, *more: rows.append(len(hidden)) or logits(hidden, *more)
    )
    run(method, sets=sets_with_long_records())
    assert max(rows) == 3


def test_a_term_of_weight_0_is_not_computed(monkeypatch):
    batches = []
    hidden = objective.Forward.hidden
    monkeypatch.setattr(
        objective.Forward, "hidden", lambda self, chunks: batches.append(len(chunks)) or hidden(self, chunks)
    )
    forget = len(example_sets().forget)
    training = plain_training(epochs=1)
    run("ascent_descent", {"retain_ratio": 100.0}, training=training)
    assert batches[-1] > forget
    run("ascent_descent", {"retain_ratio": 100.0, "retain_weight": 0.0}, training=training)
    assert batches[-1] == forget


def test_a_long_record_weighs_as_much_as_a_short_one():
    """Means are over records: the update is the mean of both records' updates, whatever their lengths."""
    short, long = records(1, seed=8), [Record(text=LONG)]

    def update(forget):
        before = weights(tiny_model())
        training = plain_training(epochs=1, max_length=64)
        after = weights(run("gradient_ascent", sets=TrainingSets(forget=forget), training=training)[0])
        return [new - old for new, old in zip(after, before, strict=True)]

    for both, of_short, of_long in zip(update(short + long), update(short), update(long), strict=True):
        torch.testing.assert_close(both, (of_short + of_long) / 2, rtol=1e-5, atol=1e-7)
