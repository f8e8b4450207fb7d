"""Figures that cannot be made again for want of a set, a model or a text."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from api.cli.given_files import GivenFile, match_files
from api.cli.missing_inputs import MissingInputs
from core.schema.evaluation import CutShort, Measurements
from core.schema.jobs import JobWarning, SetUsed
from core.schema.report import Report, ReportFigures, ReportModel

MEASURED = Measurements(seconds=1.0, model_digest="0" * 64)


ALL = ("forget", "retain", "unseen", "general")


def used(name: str, sha256: str | None, **fields: object) -> SetUsed:
    return SetUsed.model_validate({"name": name, "file": None, "records": 4, "sha256": sha256, **fields})


def report(
    *data: SetUsed, warnings: Sequence[str] = (), shared: Sequence[str] = (), start: str | None = None
) -> Report:
    with_tasks = MEASURED.model_copy(update={"benchmarks": {"task": {}}, "cut_short": []})
    return Report.model_construct(
        data=list(data),
        figures=ReportFigures(measure=[], before=MEASURED, after=with_tasks, retrained=MEASURED),
        previously_forgotten=[],
        warnings=[JobWarning(code=code, message="") for code in warnings],
        shared_run=list(shared),
        model=ReportModel.model_construct(start_checkpoint=start),
    )


def compare(made: Report, *given: tuple[str, str], **models: bool) -> MissingInputs:
    files = [GivenFile(name, Path(f"{digest}.jsonl"), digest) for name, digest in given]
    matched = match_files(made.data, files)
    return MissingInputs.of(made, matched, **({"before": True, "retrained": True, "tasks": True} | models))


def missing(*sets: str, before: bool = True, retrained: bool = True, tasks: bool = True) -> MissingInputs:
    made = report(*(used(name, f"digest of {name}") for name in ALL))
    given = [(name, f"digest of {name}") for name in ALL if name not in sets]
    return compare(made, *given, before=before, retrained=retrained, tasks=tasks)


def test_with_everything_given_every_difference_counts() -> None:
    everything = missing()
    assert everything.words == ""
    assert not everything.decides("sets.general.perplexity.value")
    assert not everything.decides("across.baseline_auc.value")


@pytest.mark.parametrize(
    ("place", "decided"),
    [
        ("sets.general.perplexity.value", True),
        ("sets.forget.perplexity.low", False),
        ("variants.int4.forget.extraction_strength_highest.value", False),
        ("sets.forget.exposure_rank.value", True),
        ("attacks.loss.auc.value", True),
        ("model_digest", False),
    ],
)
def test_without_a_set_the_figures_that_rest_on_other_sets_alone_count(place: str, decided: bool) -> None:
    without = missing("general")
    assert without.words == "--general"
    assert without.decides(place) is decided


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("before", ["sets.retain.perplexity_ratio.value", "sets.unseen.fluency_perplexity.value"]),
        ("retrained", ["attacks.reference.auc.value", "across.privleak_loss.value", "notes.privleak_loss"]),
        ("tasks", ["benchmarks.task.acc.value"]),
    ],
)
def test_without_a_model_or_tasks_only_their_figures_are_left_open(name: str, places: list[str]) -> None:
    without = missing(**{name: False})
    assert all(without.decides(place) for place in places)
    assert not without.decides("sets.retain.perplexity.value")
    assert not without.decides("attacks.loss.auc.value")


def test_a_retain_set_of_general_text_is_measured_as_general() -> None:
    without = compare(report(used("forget", "a"), used("retain", "b", kind="general")), ("forget", "a"))
    assert without.words == "--retain"
    assert without.decides("sets.general.perplexity.value")
    assert not without.decides("sets.forget.perplexity.value")


def test_a_set_is_missing_until_all_its_files_are_given() -> None:
    made = report(used("forget", "a"), used("retain", "b"), used("retain", "c"), used("retain", "d", kind="general"))
    without = compare(made, ("forget", "a"), ("retain", "b"), ("retain", "d"))
    assert without.decides("sets.retain.perplexity.value")
    assert not without.decides("sets.general.perplexity.value")
    assert compare(made, ("forget", "a"), ("retain", "b"), ("retain", "c"), ("retain", "d")).words == ""


def test_a_set_without_a_digest_may_be_any_other_file_of_its_name() -> None:
    made = report(used("retain", None), used("retain", "b"))
    assert compare(made, ("retain", "other"), ("retain", "b")).words == ""
    assert compare(made, ("retain", "b")).words == "--retain"
    kinds = report(used("retain", None, kind="general"), used("retain", None, kind="in_distribution"))
    assert compare(kinds, ("retain", "b"), ("retain", "c")).sets == {"retain", "general"}


def test_a_set_that_only_trains_leaves_no_figure_open() -> None:
    made = report(used("forget", "a"), used("unseen", "b", part="trains"), used("unseen", "c", part="measures"))
    without = compare(made, ("forget", "a"), ("unseen", "c"))
    assert without.names == {"unseen"}
    assert not without.decides("sets.unseen.perplexity.value")
    assert not without.decides("attacks.loss.auc.value")
    assert compare(made, ("forget", "a"), ("unseen", "b")).decides("attacks.loss.auc.value")


def test_text_that_the_job_made_is_named_and_no_file_is_taken_for_it() -> None:
    made = report(used("forget", "a"), used("retain", None, origin="made_by_the_model"))
    without = compare(made, ("forget", "a"), ("retain", "b"))
    assert without.words == "the text that the job made for retain"
    assert without.decides("sets.retain.perplexity.value")
    assert not without.decides("sets.forget.perplexity.value")


def test_figures_of_a_measurement_that_ran_out_of_time_in_the_job_are_left_open() -> None:
    made = report(used("forget", "a"))
    assert made.figures.after is not None
    for measurement, reason in (("relearned", "seconds"), ("verbatim", "records"), ("quantized", "seconds")):
        cut = CutShort.model_validate({"measurement": measurement, "what": "a", "done": 1, "of": 2, "reason": reason})
        made.figures.after.cut_short.append(cut)
    without = compare(made, ("forget", "a"))
    assert without.out_of_time == {"relearned", "quantized"}
    for place in (
        "curves.relearned_forget[1].figure.value",
        "variants.int4.forget.perplexity.low",
        "cut_short[0].done",
    ):
        assert without.decides(place, without.out_of_time), place
        assert not without.decides(place), place
    for place in ("sets.forget.perplexity.low", "sets.forget.verbatim_rouge_l_recall.value", "attacks.loss.auc.value"):
        assert not without.decides(place, without.out_of_time), place


OVERLAPPING = ["overlapping_sets"]
SETS = [used("forget", "a"), used("retain", "b"), used("probes", "c")]
GIVEN = [("forget", "a"), ("retain", "b"), ("probes", "c")]


@pytest.mark.parametrize(
    ("made", "given"),
    [
        (report(*SETS, used("unseen", "d"), warnings=OVERLAPPING), GIVEN),
        (report(*SETS, warnings=OVERLAPPING, start="ckpt-1"), GIVEN),
        (report(*SETS, warnings=OVERLAPPING, shared=["job-2"]), GIVEN),
        (report(*SETS, used("retain", "d", part="trains"), warnings=OVERLAPPING), GIVEN),
    ],
)
def test_where_records_are_left_out_by_what_is_missing_only_whole_sets_count(
    made: Report, given: list[tuple[str, str]]
) -> None:
    without = compare(made, *given)
    assert without.decides("sets.retain.perplexity.value")
    assert without.decides("attacks.loss.auc.value")
    assert not without.decides("sets.forget.perplexity.value")
    assert not without.decides("sets.probes.accuracy.value")
    assert not without.decides("model_digest")
    assert "which records the job left out of its sets" in without.words


@pytest.mark.parametrize(
    "made",
    [
        report(*SETS, warnings=OVERLAPPING),
        report(*SETS, start="ckpt-1"),
        report(*SETS, shared=["job-2"]),
        report(*SETS, used("retain", "d", part="trains")),
        report(*SETS, used("unseen", None, part="trains", origin="made_by_swapping"), warnings=OVERLAPPING),
    ],
)
def test_where_no_record_is_left_out_by_what_is_missing_every_set_counts(made: Report) -> None:
    assert not compare(made, *GIVEN).decides("sets.retain.perplexity.value")
