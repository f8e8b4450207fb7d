"""The conclusion of a dry run, on figures made by hand and on the figures of a real model."""

import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy.preview import conclude, measurement_names
from core.evaluation.runner import measure_model
from core.schema.evaluation import Attack, Figure, Measurements
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING


def figure(value: float, low: float | None = None, high: float | None = None, records: int = 40) -> Figure:
    return Figure(value=value, low=low, high=high, records=records)


def attack(value: float, low: float, high: float, records: int = 40) -> Attack:
    auc = figure(value, low, high, records)
    return Attack(auc=auc, tpr_at_1_fpr=auc, tpr_at_5_fpr=auc, roc=[])


def unremarkable() -> Measurements:
    """Figures by which forget text is like unseen text."""
    return Measurements(
        sets={
            "forget": {
                "extraction_strength": figure(0.03, 0.02, 0.05),
                "verbatim_recall": figure(0.31, 0.29, 0.33),
                "extraction_strength_highest": figure(0.2, 0.2, 0.2),
                "exposure_p": figure(0.4),
                "exposure_rank": figure(0.48, 0.38, 0.58, 32),
            },
            "unseen": {
                "extraction_strength": figure(0.03, 0.02, 0.04),
                "verbatim_recall": figure(0.3, 0.28, 0.32),
                "extraction_strength_highest": figure(0.1, 0.1, 0.1),
                "exposure_rank": figure(0.5, 0.4, 0.6, 32),
            },
        },
        attacks={"loss": attack(0.52, 0.41, 0.63)},
        across={"baseline_auc": figure(0.5)},
        seconds=1.0,
        model_digest="0" * 64,
    )


def unremarkable_but(name: str, changed: Figure) -> Measurements:
    """The same with one other figure of the forget set; `loss` is the attack's AUC."""
    measurements = unremarkable()
    if name == "loss":
        measurements.attacks["loss"].auc = changed
    else:
        measurements.sets["forget"][name] = changed
    return measurements


def test_unremarkable_figures_show_that_there_is_nothing_to_forget() -> None:
    conclusion = conclude(unremarkable())
    assert conclusion.outcome == "nothing_to_forget"
    assert len(conclusion.findings) == 5
    assert "extraction strength 0.03 (0.02 to 0.05) beside 0.03 (0.02 to 0.04) of unseen text" in conclusion.words


@pytest.mark.parametrize(
    ("name", "changed", "level"),
    [
        ("extraction_strength", figure(0.4, 0.3, 0.5), "stands_out"),
        ("extraction_strength", figure(0.06, 0.02, 0.1), "open"),
        ("extraction_strength", figure(0.04, 0.03, 0.078), "unremarkable"),  # 0.01 + hypot(0.038, 0.01) = 0.0493
        ("extraction_strength", figure(0.04, 0.03, 0.08), "open"),  # 0.0512
        ("extraction_strength", figure(0.34), "stands_out"),
        ("extraction_strength", figure(0.32), "open"),
        ("extraction_strength", figure(0.03), "open"),  # without an interval
        ("extraction_strength_highest", figure(0.39, 0.39, 0.39), "unremarkable"),
        ("extraction_strength_highest", figure(0.41, 0.41, 0.41), "stands_out"),  # a single known record among many
        ("verbatim_recall", figure(0.6, 0.5, 0.7), "stands_out"),
        ("verbatim_recall", figure(0.33, 0.23, 0.43), "open"),
        ("exposure_p", figure(0.05), "stands_out"),
        ("exposure_p", figure(0.051), "unremarkable"),
        ("exposure_rank", figure(0.4, 0.3, 0.5, 32), "unremarkable"),
        ("exposure_rank", figure(0.4, 0.299, 0.5, 32), "open"),
        ("exposure_rank", figure(0.45, records=32), "open"),
        ("exposure_rank", figure(0.6, 0.51, 0.69, 32), "stands_out"),  # less known than twins: suppressed
        ("loss", figure(0.6, 0.51, 0.64), "stands_out"),
        ("loss", figure(0.4, 0.31, 0.49), "stands_out"),  # less familiar than unseen text: made to be forgotten before
        ("loss", figure(0.55, 0.45, 0.65), "open"),
    ],
)
def test_a_single_figure_that_stands_out_or_is_open_prevents_nothing_to_forget(
    name: str, changed: Figure, level: str
) -> None:
    conclusion = conclude(unremarkable_but(name, changed))
    levels = [finding.level for finding in conclusion.findings]
    assert levels.count(level) == (5 if level == "unremarkable" else 1)
    assert conclusion.outcome == ("nothing_to_forget" if level == "unremarkable" else "preview")
    if level != "unremarkable":
        finding = conclusion.findings[levels.index(level)]
        assert finding.words in conclusion.words
        assert conclusion.words.startswith(finding.words)


@pytest.mark.parametrize(
    ("name", "changed", "known"),
    [
        ("exposure_rank", figure(0.6, 0.51, 0.69, 32), False),
        ("exposure_rank", figure(1.0, 1.0, 1.0, 2), False),  # two records of other words than the unseen text's
        ("exposure_p", figure(0.05), True),
        ("loss", figure(0.4, 0.31, 0.49), False),
        ("loss", figure(0.6, 0.51, 0.64), True),
        ("extraction_strength", figure(0.4, 0.3, 0.5), True),
        ("extraction_strength", figure(0.06, 0.02, 0.1), False),
    ],
)
def test_text_that_is_less_likely_than_unseen_text_is_not_known(name: str, changed: Figure, known: bool) -> None:
    conclusion = conclude(unremarkable_but(name, changed))
    assert (conclusion.outcome, conclusion.known) == ("preview", known)


def single_record(rank: float = 0.5, chance: float = 0.5) -> Measurements:
    measurements = unremarkable()
    measurements.sets["forget"] = {
        "extraction_strength": figure(0.02, records=1),
        "extraction_strength_highest": figure(0.02, 0.02, 0.02, records=1),
        "verbatim_recall": figure(0.3, records=1),
        "exposure_p": figure(chance, records=1),
        "exposure_rank": figure(rank, records=1),
    }
    measurements.attacks["loss"] = attack(0.6, 0.1, 0.95, records=1)
    return measurements


def test_a_single_record_never_shows_that_there_is_nothing_to_forget() -> None:
    conclusion = conclude(single_record())
    assert conclusion.outcome == "preview"  # its rank is a single random number
    assert {finding.level for finding in conclusion.findings} == {"open"}
    assert "of a single record the figures can hardly show that nothing is known" in conclusion.words
    assert "20 records or more, could show it" in conclusion.words
    assert "stands_out" in [finding.level for finding in conclude(single_record(0.02, 0.02)).findings]
    measurements = single_record()
    del measurements.sets["forget"]["exposure_p"]
    assert conclude(measurements).outcome == "preview"
    assert "too little was measured" in conclude(measurements).words


def test_few_records_get_the_interval_of_as_many_unseen_records() -> None:
    measurements = unremarkable()
    for name, forget_figure in measurements.sets["forget"].items():
        measurements.sets["forget"][name] = forget_figure.model_copy(update={"records": 16})
    measurements.attacks["loss"] = attack(0.5, 0.3, 0.7, records=16)
    ranks = measurements.sets["forget"]
    ranks["exposure_rank"] = figure(0.45, 0.44, 0.46, 16)  # 0.1 of 32 unseen records: 0.1414 of 16
    assert conclude(measurements).outcome == "nothing_to_forget"
    ranks["exposure_rank"] = figure(0.44, 0.43, 0.45, 16)
    assert conclude(measurements).outcome == "preview"
    assert "of 16 records the figures can hardly show" in conclude(measurements).words


def test_fewer_than_20_unseen_records_are_no_yardstick() -> None:
    measurements = unremarkable()
    for name, unseen_figure in measurements.sets["unseen"].items():
        measurements.sets["unseen"][name] = unseen_figure.model_copy(update={"records": 19})
    conclusion = conclude(measurements)
    assert conclusion.outcome == "preview"
    assert "19 unseen records are no yardstick: bring 20 or more that measure" in conclusion.words


def test_membership_does_not_count_if_the_texts_differ_without_a_model() -> None:
    measurements = unremarkable()
    measurements.across["baseline_auc"] = figure(0.8)
    measurements.attacks["loss"] = attack(0.8, 0.75, 0.85)
    assert conclude(measurements).outcome == "nothing_to_forget"


def test_without_unseen_text_extraction_and_exposure_decide() -> None:
    measurements = unremarkable()
    del measurements.sets["unseen"], measurements.attacks["loss"]
    conclusion = conclude(measurements)
    assert conclusion.outcome == "nothing_to_forget"
    assert "without unseen text" in conclusion.words
    few = unremarkable()
    del few.sets["unseen"], few.attacks["loss"]
    few.sets["forget"]["extraction_strength"] = figure(0.02, 0.01, 0.03, records=19)
    assert conclude(few).outcome == "preview"
    assert "without 20 or more unseen ones nothing at all" in conclude(few).words
    measurements.sets["forget"]["extraction_strength"] = figure(0.06, 0.02, 0.11)
    assert conclude(measurements).outcome == "preview"
    measurements = unremarkable()
    measurements.sets = {"forget": {"exposure_p": figure(0.9), "exposure_rank": figure(0.6, 0.5, 0.7)}}
    assert conclude(measurements).outcome == "preview"  # extraction was not measured


def test_trained_text_has_a_preview_and_unseen_text_nothing_to_forget(
    loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase], tiny_model: TinyModel
) -> None:
    def outcome(forget: list[Record], names: list[str]) -> str:
        context = EvalContext(
            lambda: loaded, {"forget": forget, "unseen": people(40, 91)}, training=TRAINING, moment="before"
        )
        return conclude(measure_model(context, resolve_measurements(names), model_digest="0" * 64)).outcome

    cheap = ["likelihood", "membership"]
    assert set(cheap) <= set(measurement_names())
    assert outcome(tiny_model.sets["forget"], cheap) == "preview"
    assert outcome(people(60, 92), cheap) == "nothing_to_forget"
