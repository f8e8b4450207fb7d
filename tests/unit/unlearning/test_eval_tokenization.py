"""What a job is measured by, whatever it asks to be trained by."""

import pytest

from core.schema.training import Training, TrainingRequest
from core.unlearning.eval_tokenization import EVAL_LENGTH, EVAL_SEED, default_eval_settings, eval_settings
from core.unlearning.objectives import fill_training
from tests.unit.preflight.workloads import llama, with_training, work


def filled(**asked: object) -> Training:
    request = TrainingRequest.model_validate(asked)
    return fill_training(request, "npo", parameters=10**7, forget_records=8)


@pytest.mark.parametrize("asked", [{"max_length": 2}, {"seed": 77}, {"chat": "template"}, {"chat": "raw"}])
def test_no_request_chooses_how_its_job_is_measured(asked: dict[str, object]) -> None:
    mine, anybodys = (eval_settings(filled(**one), context=2048) for one in (asked, {}))
    assert (mine.max_length, mine.chat, mine.seed) == (2048, "auto", EVAL_SEED)
    assert mine == anybodys


@pytest.mark.parametrize(
    ("asked", "context", "length"),
    [(16, 512, 512), (16, 9000, EVAL_LENGTH), (8000, 9000, 8000), (8000, 6000, 6000), (16, None, EVAL_LENGTH)],
)
def test_chunks_are_as_long_as_the_context_allows_and_never_shorter_than_the_trainings(
    asked: int, context: int | None, length: int
) -> None:
    assert eval_settings(filled(max_length=asked), context=context).max_length == length


def test_outside_of_a_job_a_model_is_read_as_in_one_but_for_what_is_chosen() -> None:
    shape = llama()
    job = eval_settings(
        fill_training(TrainingRequest(), "calibrated", parameters=shape.parameters, forget_records=1),
        context=shape.context,
    )
    assert default_eval_settings(shape) == job
    assert default_eval_settings(shape, max_length=8, chat="raw", seed=5) == job.model_copy(
        update={"max_length": 8, "chat": "raw", "seed": 5}
    )


def test_memory_is_reckoned_by_the_length_that_measures() -> None:
    short = with_training(work(records=1, length=5000), max_length=16, micro_batch_tokens=64)
    assert short.measured == EVAL_LENGTH
    assert with_training(short, max_length=4500).measured == 4500
