"""The baseline makes the same updates as the service's own trainer: only then are their times worth comparing."""

import pytest
import torch

from benchmarks.case import METHODS, Case, tokens
from benchmarks.model import build_model, build_tokenizer
from benchmarks.plain import train as train_plainly
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import train

CPU = torch.device("cpu")
STEPS = 3
RATE = 1e-2
"""So large that KL is far from 0 at the third update."""


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def case(method, **changes):
    given = {"shape": "tiny", "vocabulary": 97, "lengths": "short", "steps": STEPS, "records_per_step": 4}
    return Case(method, **(given | {"plain_batch": 4} | changes))


def losses_of_ours(one):
    forget, retain = one.records()
    curves = []
    result = train(
        build_model(one, CPU),
        build_tokenizer(one.vocabulary),
        one.method,
        {},
        one.training().model_copy(update={"learning_rate": RATE}),
        TrainingSets(forget, [retain]),
        report=lambda event: curves.append(event.values) if event.kind == "curve" else None,
        should_stop=lambda: False,
    )
    return curves, result.tokens


def losses_of_the_baseline(one):
    forget, retain = one.records()
    found = []
    train_plainly(
        build_model(one, CPU),
        build_tokenizer(one.vocabulary),
        one.method,
        one.training().model_copy(update={"learning_rate": RATE}),
        forget,
        retain.records,
        batch=one.plain_batch,
        observe=lambda step, losses: found.append(losses),
    )
    return found


@pytest.mark.parametrize("batch", [4, 2])
@pytest.mark.parametrize("method", METHODS)
def test_the_baseline_makes_the_same_updates_as_the_service(method, batch):
    one = case(method, plain_batch=batch)
    ours, trained_on = losses_of_ours(one)
    theirs = losses_of_the_baseline(one)
    assert len(ours) == len(theirs) == STEPS
    for mine, other in zip(ours, theirs, strict=True):
        assert other == pytest.approx({name: mine[name] for name in other}, rel=1e-4, abs=1e-6)
    assert abs(theirs[-1]["retain_loss"]) > 0.001
    assert sum(tokens(one)) == trained_on
