"""The requests of one run: each has forget records and probes of its own; other sets and the training are common."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.lm.errors import CoreError
from core.pipeline.data_split import DataSplit
from core.schema.combining import OWN_SETS
from core.schema.job_spec import RecordSet, UnlearnSpec
from core.schema.record import Record


@dataclass(frozen=True)
class Request:
    """One job's part in a run."""

    job: str | None
    """None: the job has the run for itself."""
    forget: list[Record]
    """The whole forget set, records that cannot be scored included."""
    data: DataSplit


def keep_own(spec: UnlearnSpec, sets: Sequence[RecordSet], data: DataSplit) -> None:
    """Leaves only the leading job's own records among those that are measured; all of them train."""
    if spec.companions:
        _measure_own(data, sets, job=None)


def list_requests(spec: UnlearnSpec, sets: Sequence[RecordSet], data: DataSplit) -> list[Request]:
    """Returns the requests, the leading job's first. `data` is the leading job's, its made sets included."""
    lead = Request(spec.job if spec.companions else None, _own(sets, "forget", None), data)
    requests = [lead]
    for job in spec.companions:
        own = DataSplit(data.training, dict(data.measuring))
        _measure_own(own, sets, job=job)
        requests.append(Request(job, _own(sets, "forget", job), own))
    return requests


def measured_raw() -> CoreError:
    """Returns the error that ends a run where a record of one request would leave all of them without a verdict."""
    return CoreError("measured_raw", "the chat template refuses a record of one of the jobs that share this run")


def _measure_own(data: DataSplit, sets: Sequence[RecordSet], *, job: str | None) -> None:
    for name in OWN_SETS:
        data.measuring.pop(name, None)
        if records := _own(sets, name, job):
            data.measuring[name] = records


def _own(sets: Sequence[RecordSet], name: str, job: str | None) -> list[Record]:
    return [record for records in sets if records.name == name and records.job == job for record in records.records]
