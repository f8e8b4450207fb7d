"""Figures that cannot be made again for want of a set, a model or a text."""

import pytest

from api.cli.missing_inputs import MissingInputs
from core.schema.evaluation import Measurements
from core.schema.jobs import SetUsed
from core.schema.report import Report, ReportFigures

MEASURED = Measurements(seconds=1.0, model_digest="0" * 64)


def missing(*sets: str, before: bool = True, retrained: bool = True, tasks: bool = True) -> MissingInputs:
    used = [
        SetUsed.model_validate({"name": name, "file": None, "records": 4, "sha256": None})
        for name in ("forget", "retain", "unseen", "general")
    ]
    with_tasks = MEASURED.model_copy(update={"benchmarks": {"task": {}}})
    figures = ReportFigures(measure=[], before=MEASURED, after=with_tasks, retrained=MEASURED)
    report = Report.model_construct(data=used, figures=figures, previously_forgotten=[])
    given = [used.name for used in used if used.name not in sets]
    return MissingInputs.of(report, given, before=before, retrained=retrained, tasks=tasks)


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
