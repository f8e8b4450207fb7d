"""An optional field that a later version adds to records changes no digest of records without it."""

from core.evaluation import cache
from core.evaluation.eval_context import EvalContext
from core.pipeline import job_fingerprint
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from tests.unit.evaluation.test_runner import TRAINING


class Later(Record):
    new: str | None = None


class LaterSet(RecordSet):
    records: list[Later]  # type: ignore[assignment]


def records(kind: type[Record]) -> list[Record]:
    return [kind(text=f"record {number}", wrong=["no"] * (number % 2)) for number in range(40)]


def chosen_indices(kind: type[Record]) -> list[int]:
    def no_model() -> tuple[None, None]:
        raise AssertionError

    context = EvalContext(no_model, {"forget": records(kind)}, training=TRAINING)  # type: ignore[arg-type]
    return context.subset_indices("forget", 12)


def test_subsets_cache_keys_and_job_fingerprints_stay() -> None:
    assert chosen_indices(Later) == chosen_indices(Record)
    assert cache._records_digest(records(Later)) == cache._records_digest(records(Record))
    later = LaterSet.model_construct(name="forget", records=records(Later))
    assert job_fingerprint._digest([later]) == job_fingerprint._digest(
        [RecordSet(name="forget", records=records(Record))]
    )


def test_records_with_different_probes_have_different_cache_keys() -> None:
    record, other = Record(text="a", wrong=["b"]), Record(text="a", wrong=["c"])
    assert cache._records_digest([record]) != cache._records_digest([other])
