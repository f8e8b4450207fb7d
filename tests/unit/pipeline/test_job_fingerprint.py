"""An optional field that a later version adds to records changes no digest of records without it."""

import hashlib

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


class SetWithField(RecordSet):
    order: str = "given"


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


def test_a_later_field_of_sets_changes_the_fingerprint_only_where_it_is_not_the_default() -> None:
    texts = [Record(text="a")]
    today = job_fingerprint._digest([RecordSet(name="forget", records=texts)])
    lines = RecordSet(name="forget", records=texts).model_dump_json(exclude_none=True)
    assert lines == '{"name":"forget","weight":1.0,"records":[{"text":"a"}]}'
    assert today == hashlib.sha256(hashlib.sha256(lines.encode()).digest()).digest()
    assert job_fingerprint._digest([SetWithField(name="forget", records=texts)]) == today
    assert job_fingerprint._digest([SetWithField(name="forget", records=texts, order="given")]) == today
    assert job_fingerprint._digest([SetWithField(name="forget", records=texts, order="random")]) != today


def test_records_with_different_probes_have_different_cache_keys() -> None:
    record, other = Record(text="a", wrong=["b"]), Record(text="a", wrong=["c"])
    assert cache._records_digest([record]) != cache._records_digest([other])
