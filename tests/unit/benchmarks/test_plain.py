"""The baseline makes the same updates as the service's own trainer: only then are their times worth comparing."""

import pytest
import torch

from benchmarks.case import METHODS, Case, step_tokens
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
    defaults = {"shape": "tiny", "vocabulary": 97, "lengths": "short", "steps": STEPS, "records_per_step": 4}
    return Case(method, **(defaults | {"plain_batch": 4} | changes))


def losses_of_the_service(bench_case):
    forget, retain = bench_case.records()
    curves = []
    result = train(
        build_model(bench_case, CPU),
        build_tokenizer(bench_case.vocabulary),
        bench_case.method,
        {},
        bench_case.training().model_copy(update={"learning_rate": RATE}),
        TrainingSets(forget, [retain]),
        report=lambda event: curves.append(event.values) if event.kind == "curve" else None,
        should_stop=lambda: False,
    )
    return curves, result.tokens


def losses_of_the_baseline(bench_case):
    forget, retain = bench_case.records()
    all_losses = []
    train_plainly(
        build_model(bench_case, CPU),
        build_tokenizer(bench_case.vocabulary),
        bench_case.method,
        bench_case.training().model_copy(update={"learning_rate": RATE}),
        forget,
        retain.records,
        batch=bench_case.plain_batch,
        observe=lambda step, losses: all_losses.append(losses),
    )
    return all_losses


@pytest.mark.parametrize("batch", [4, 2])
@pytest.mark.parametrize("method", METHODS)
def test_the_baseline_makes_the_same_updates_as_the_service(method, batch):
    bench_case = case(method, plain_batch=batch)
    service_curves, trained_on = losses_of_the_service(bench_case)
    baseline_losses = losses_of_the_baseline(bench_case)
    assert len(service_curves) == len(baseline_losses) == STEPS
    for curve, losses in zip(service_curves, baseline_losses, strict=True):
        assert losses == pytest.approx({name: curve[name] for name in losses}, rel=1e-4, abs=1e-6)
    assert abs(baseline_losses[-1]["retain_loss"]) > 0.001
    assert sum(step_tokens(bench_case)) == trained_on
