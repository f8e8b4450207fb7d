"""The files that figures are made again from, and the measurements that make them."""

from pathlib import Path

import pytest

from api.cli import remeasure
from api.cli.given_files import GivenFile, match_files
from api.cli.missing_inputs import MissingInputs
from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evidence.findings import Findings
from core.schema.evaluation import CutShort, Figure, MeasurementChoice, Measurements, StepFigure
from core.schema.jobs import SetUsed
from core.schema.report import Report, ReportFigures, ReportModel


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
    given = [file(used_set.name, used_set.sha256 or "") for used_set in reversed(data)]
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


def test_a_limit_of_time_beyond_a_day_is_not_lowered() -> None:
    parameters = {"benchmarks": {"tasks": ["arc_easy"], "seconds": 604_800.0}}
    after = Measurements(seconds=1.0, model_digest="0", parameters=parameters)
    report = Report.model_construct(figures=ReportFigures(measure=[], before=None, after=after, retrained=None))
    (choice,) = remeasure._as_made(report, frozenset())
    assert choice.parameters["seconds"] == 604_800.0


def test_models_that_were_measured_with_other_parameters_are_refused_by_the_measurement_s_name() -> None:
    before, after = (
        Measurements(seconds=1.0, model_digest="0", parameters={"cloze": {"samples": samples}}) for samples in (1, 2)
    )
    report = Report.model_construct(figures=ReportFigures(measure=[], before=before, after=after, retrained=None))
    with pytest.raises(remeasure.NotMeasured, match="cloze with other parameters"):
        remeasure._as_made(report, frozenset())


def relearned(value: float, *, cut: bool) -> Measurements:
    """A model's figures, of which relearning alone is measured: to the end, or until its time was up."""
    short = CutShort(measurement="relearned", what="forget", done=1, of=2, reason="seconds")
    figure = Figure(value=value, low=None, high=None, records=4)
    return Measurements(
        seconds=1.0,
        model_digest="0",
        curves={"relearned_forget": [StepFigure(step=1, figure=figure)]},
        cut_short=[short] if cut else [],
    )


@pytest.mark.parametrize(
    ("cut_in_job", "cut_here", "false"),
    [
        ((), (), {"before", "after", "retrained"}),
        (("after",), ("after",), {"before", "retrained"}),
        (("retrained",), (), {"before", "after"}),
        ((), ("retrained",), {"before", "after"}),
        (("before",), ("before",), {"retrained"}),
    ],
)
def test_a_measurement_that_ran_out_of_time_on_a_model_leaves_open_the_figures_that_rest_on_that_model(
    cut_in_job: tuple[str, ...], cut_here: tuple[str, ...], false: set[str]
) -> None:
    stated, again = (
        {moment: relearned(value, cut=moment in cut) for moment in ("before", "after", "retrained")}
        for value, cut in ((1.0, cut_in_job), (2.0, cut_here))
    )
    report = Report.model_construct(
        figures=ReportFigures(measure=[], **stated),
        data=[],
        previously_forgotten=[],
        warnings=[],
        shared_run=[],
        model=ReportModel.model_construct(start_checkpoint=None),
    )
    missing, findings = MissingInputs.of(report, [], before=True, retrained=True, tasks=True), Findings()
    remeasure._compare(report, again, missing, exact=True, findings=findings)
    named = {
        failure.split(".")[1]
        for failure in findings.failures
        if ".curves.relearned_forget[0].figure.value: " in failure
    }
    assert named == false
    assert any("how far relearned" in line for line in findings.unchecked) == bool(cut_in_job or cut_here)


@pytest.mark.parametrize("name", sorted(set(MEASUREMENTS) - {"benchmarks"}))
def test_the_parameters_of_every_measurement_can_be_read_back(name: str) -> None:
    made = MEASUREMENTS[name].for_group("thorough")
    (again,) = resolve_measurements([MeasurementChoice.model_validate({"name": name, **made.model_dump(mode="json")})])
    assert again.model_dump() == made.model_dump()
