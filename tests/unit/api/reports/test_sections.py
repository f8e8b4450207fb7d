"""Sections of a report in their words."""

import pytest

from api.reports.blocks import Paragraph, Table
from api.reports.sections import annex, findings
from core.schema.evaluation import Attack, Figure, Measurements
from core.schema.jobs import SetUsed
from core.schema.policies import Bound
from core.schema.report import Report, ReportBound, ReportCheckpoint, ReportFigures, ReportVerdict

AUC = Figure(value=0.52, low=0.44, high=0.6, records=20)
AFTER = Measurements(
    attacks={
        name: Attack.model_construct(auc=AUC, roc=[(0.0, 0.0), (1.0, 1.0)]) for name in ("loss", "min_k_10", "min_k_5")
    },
    seconds=1.0,
    model_digest="0" * 64,
)
FIGURES = ReportFigures(measure=[], before=None, after=AFTER, retrained=None)


def test_the_annex_lists_every_attack_that_was_computed() -> None:
    section = annex.figures(Report.model_construct(kind="unlearn", figures=FIGURES))
    assert section is not None
    (table,) = [block for block in section.blocks if isinstance(block, Table)]
    assert table.columns == ["Attack", "after the job"]
    assert table.rows == [
        ["loss: surprise by the whole text", "0.52 (0.44 to 0.6)"],
        ["min_k_5: the most surprising 5 %", "0.52 (0.44 to 0.6)"],
        ["min_k_10: the most surprising 10 %", "0.52 (0.44 to 0.6)"],
    ]


@pytest.mark.parametrize(("part", "halved"), [(None, True), ("measures", False)])
def test_unseen_text_that_half_trains_is_told_to_measure_by_its_other_half(part: str | None, halved: bool) -> None:
    used = SetUsed.model_validate({"name": "unseen", "file": None, "records": 40, "sha256": None, "part": part})
    report = Report.model_construct(
        kind="unlearn", data=[used], figures=FIGURES, verdict=None, previously_forgotten=[], relearning=None
    )
    (section,) = [section for section in findings.findings(report) if "has seen the text" in section.title]
    first = next(block for block in section.blocks if isinstance(block, Paragraph) and "attack" in block.text)
    assert ("only the other half is measured" in first.text) is halved


@pytest.mark.parametrize(("level", "wider"), [(0.99, True), (0.95, False), (None, False)])
def test_membership_says_that_intervals_are_wider_only_where_they_are(level: float | None, wider: bool) -> None:
    of = {"part": None, "value": None, "result": "passed", "question": "?", "answer": "."}
    bound = ReportBound.model_construct(bound=Bound(name="loss", attack="loss", high=0.6), level=level, **of)
    verdict = ReportVerdict.model_construct(bounds=[bound])
    report = Report.model_construct(
        kind="unlearn", data=[], figures=FIGURES, verdict=verdict, previously_forgotten=[], relearning=None
    )
    (section,) = [section for section in findings.findings(report) if "has seen the text" in section.title]
    texts = " ".join(block.text for block in section.blocks if isinstance(block, Paragraph))
    assert ("wider here than 95 %" in texts) is wider


def test_the_annex_says_the_level_of_its_intervals() -> None:
    section = annex.figures(Report.model_construct(kind="unlearn", figures=FIGURES))
    assert section is not None
    captions = [block.caption for block in section.blocks if isinstance(block, Table)]
    assert captions
    assert all("95 % intervals" in caption for caption in captions)


def test_a_report_with_a_statement_says_that_only_the_statement_is_signed() -> None:
    made = ReportCheckpoint.model_construct()
    signed, unsigned = [annex.checks(Report.model_construct(checkpoint=each, checks=[])) for each in (made, None)]
    assert [block.text for block in signed.blocks if isinstance(block, Paragraph)] == [
        "This document is not itself signed; the signed statement is. Keep both."
    ]
    assert unsigned.blocks == []
