"""The ways to check a report."""

from core.report.caveats import CONTINUED, list_checks
from core.schema.evaluation import Measurements
from core.schema.jobs import SetUsed
from core.schema.report import Report, ReportCheckpoint, ReportFigures

MEASURED = Measurements(seconds=1.0, model_digest="0" * 64)


def commands(*sets: tuple[str, str, str | None], retrained: bool = False) -> list[str]:
    data = [
        SetUsed.model_validate(
            {"name": name, "file": None, "records": 40, "sha256": None, "origin": origin, "part": part}
        )
        for name, origin, part in sets
    ]
    figures = ReportFigures(measure=[], before=None, after=MEASURED, retrained=MEASURED if retrained else None)
    made = ReportCheckpoint.model_construct()
    report = Report.model_construct(job="job-1", service_version="0.1.0", checkpoint=made, data=data, figures=figures)
    return [(check.command or "").replace(CONTINUED, " ") for check in list_checks(report)]


def test_the_figures_are_made_again_from_the_sets_that_the_job_had() -> None:
    given = commands(*((name, "model", None) for name in ("forget", "retain", "general", "protected")))
    (again,) = [command for command in given if "--remeasure" in command]
    assert again.endswith(
        "--remeasure --before MODEL --forget forget.jsonl --retain retain.jsonl --general general.jsonl --protected"
        " protected.jsonl"
    )


def test_text_that_the_service_made_has_no_file_and_a_retrained_model_is_named() -> None:
    given = commands(("forget", "request", None), ("retain", "made_by_the_model", None), retrained=True)
    (again,) = [command for command in given if "--remeasure" in command]
    assert again.endswith("--remeasure --before MODEL --retrained-model RETRAINED --forget forget.jsonl")


def test_each_file_has_one_name_in_all_commands_and_measuring_needs_none_that_only_trains() -> None:
    given = commands(("forget", "request", None), ("unseen", "request", "trains"), ("unseen", "model", "measures"))
    (again,) = [command for command in given if "--remeasure" in command]
    (measure,) = [command for command in given if "unlearn measure" in command]
    assert again.endswith("--forget forget.jsonl --unseen unseen.jsonl --unseen unseen-2.jsonl")
    assert measure.endswith("--forget forget.jsonl --unseen unseen-2.jsonl")
