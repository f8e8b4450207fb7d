"""The files that figures are made again from, and the measurements that make them."""

from pathlib import Path

import pytest

from api.cli import remeasure
from api.cli.given_files import GivenFile, match_files
from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evidence.findings import Findings
from core.schema.evaluation import MeasurementChoice, Measurements
from core.schema.jobs import SetUsed
from core.schema.report import Report, ReportFigures


def used(name: str, sha256: str | None, **fields: object) -> SetUsed:
    return SetUsed.model_validate({"name": name, "file": None, "records": 4, "sha256": sha256, **fields})


def file(name: str, sha256: str) -> GivenFile:
    return GivenFile(name, Path(f"{sha256}.jsonl"), sha256)


def test_files_are_used_in_the_job_s_order_each_as_the_job_used_it() -> None:
    data = [
        used("forget", "a"),
        used("retain", "b", kind="in_distribution"),
        used("retain", "c", kind="general", part="trains"),
        used("unseen", "d", part="trains"),
        used("unseen", "e", part="measures"),
        used("general", "f"),
    ]
    given = [file(one.name, one.sha256 or "") for one in reversed(data)]
    sets = remeasure._set_files(match_files(data, given))
    assert [(each.name, each.path.stem, each.kind, each.part) for each in sets] == [
        (each.name, each.sha256, each.kind, each.part) for each in data
    ]


@pytest.mark.parametrize("kind", ["general", "in_distribution"])
def test_a_retain_file_without_a_digest_is_used_as_the_kind_that_the_job_used(kind: str) -> None:
    (set_file,) = remeasure._set_files(match_files([used("retain", None, kind=kind)], [file("retain", "a")]))
    assert (set_file.path, set_file.kind) == (Path("a.jsonl"), kind)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([used("forget", "b")], "it is not the job's file; its sha256 is another"),
        ([used("retain", "a")], "the job had no such set"),
        ([used("forget", None, origin="made")], "it is not the job's file, the job made its own"),
    ],
)
def test_a_file_that_is_not_the_job_s_is_named(data: list[SetUsed], words: str) -> None:
    findings = Findings()
    assert not remeasure.check_files(data, [file("forget", "a")], findings)
    assert findings.failures == [f"--forget a.jsonl: {words}"]


def test_files_without_digests_are_not_told_to_be_false_but_more_of_them_than_the_job_had_are() -> None:
    data, findings = [used("retain", None), used("retain", None), used("retain", "c")], Findings()
    files = [file("retain", "a"), file("retain", "b"), file("retain", "c")]
    assert remeasure.check_files(data, files, findings)
    assert not findings.failures
    assert "which of the job's retain sets a.jsonl is" in findings.unchecked[0]
    assert not remeasure.check_files(data, [*files, file("retain", "d")], findings)
    assert findings.failures[0] == "--retain a.jsonl: the job had fewer files of this name"


def test_measurements_are_made_as_the_job_made_them_without_a_limit_of_time_that_cut_nothing() -> None:
    parameters = {"cloze": {"samples": 1, "seconds": 600.0}, "relearned": {"steps": 7, "seconds": 300.0}}
    after = Measurements(seconds=1.0, model_digest="0", parameters=parameters)
    report = Report.model_construct(figures=ReportFigures(measure=[], before=None, after=after, retrained=None))
    cloze, relearned = resolve_measurements(remeasure._as_made(report, frozenset({"relearned"})))
    assert (cloze.model_dump()["samples"], cloze.time_limit) == (1, remeasure.LONGEST)
    assert (relearned.model_dump()["steps"], relearned.time_limit) == (7, 300.0)


@pytest.mark.parametrize("name", sorted(set(MEASUREMENTS) - {"benchmarks"}))
def test_the_parameters_of_every_measurement_can_be_read_back(name: str) -> None:
    made = MEASUREMENTS[name].for_group("thorough")
    (again,) = resolve_measurements([MeasurementChoice.model_validate({"name": name, **made.model_dump(mode="json")})])
    assert again.model_dump() == made.model_dump()
