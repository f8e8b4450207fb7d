"""The settings that a job is measured with, whatever it trains by."""

import pytest

from core.schema.training import Training, TrainingRequest
from core.unlearning.eval_tokenization import EVAL_LENGTH, EVAL_SEED, default_eval_settings, eval_settings
from core.unlearning.objectives import fill_training
from tests.unit.preflight.workloads import llama, with_training, workload


def filled(**settings: object) -> Training:
    request = TrainingRequest.model_validate(settings)
    return fill_training(request, "npo", parameters=10**7, forget_records=8)


@pytest.mark.parametrize("requested", [{"max_length": 2}, {"seed": 77}, {"chat": "template"}, {"chat": "raw"}])
def test_no_request_chooses_how_its_job_is_measured(requested: dict[str, object]) -> None:
    chosen, default = (eval_settings(filled(**settings), context=2048) for settings in (requested, {}))
    assert (chosen.max_length, chosen.chat, chosen.seed) == (2048, "auto", EVAL_SEED)
    assert chosen == default


@pytest.mark.parametrize(
    ("requested", "context", "length"),
    [(16, 512, 512), (16, 9000, EVAL_LENGTH), (8000, 9000, 8000), (8000, 6000, 6000), (16, None, EVAL_LENGTH)],
)
def test_chunks_are_as_long_as_the_context_allows_and_never_shorter_than_the_trainings(
    requested: int, context: int | None, length: int
) -> None:
    assert eval_settings(filled(max_length=requested), context=context).max_length == length


def test_default_settings_are_those_of_a_job_except_for_given_ones() -> None:
    shape = llama()
    job = eval_settings(
        fill_training(TrainingRequest(), "calibrated", parameters=shape.parameters, forget_records=1),
        context=shape.context,
    )
    assert default_eval_settings(shape) == job
    assert default_eval_settings(shape, max_length=8, chat="raw", seed=5) == job.model_copy(
        update={"max_length": 8, "chat": "raw", "seed": 5}
    )


def test_memory_is_estimated_by_the_length_for_measuring() -> None:
    short = with_training(workload(records=1, length=5000), max_length=16, micro_batch_tokens=64)
    assert short.measuring_batch_tokens == EVAL_LENGTH
    assert with_training(short, max_length=4500).measuring_batch_tokens == 4500
