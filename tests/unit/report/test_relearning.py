"""The relearning attack that brought most of the text back, in a report."""

from collections.abc import Sequence

from core.report.relearning import find_worst
from core.schema.evaluation import Figure, Measurements, StepFigure
from core.schema.report import Report, ReportFigures


def curve(*values: float) -> list[StepFigure]:
    figures = [Figure(value=value, low=value * 0.9, high=value * 1.1, records=16) for value in values]
    return [StepFigure(step=5 * number, figure=figure) for number, figure in enumerate(figures)]


def measured(**curves: Sequence[float]) -> Measurements:
    points = {f"relearned_{name}": curve(*values) for name, values in curves.items()}
    return Measurements(records={"forget": 24}, seconds=1.0, model_digest="0" * 64, curves=points)


def report(after: Measurements | None, **others: Measurements) -> Report:
    figures = ReportFigures(measure=[], before=others.get("before"), after=after, retrained=others.get("retrained"))
    return Report.model_construct(figures=figures)


def test_the_worst_attack_is_named_with_its_step_and_figure() -> None:
    after = measured(forget=(40, 30, 33), sgd=(40, 39, 22.5), unseen=(50, 45))
    worst = find_worst(report(after, before=measured(forget=(1.2,))))
    assert worst is not None
    assert (worst.attack, worst.steps, worst.figure.value, worst.attacks) == ("sgd", 10, 22.5, 2)
    assert worst.answer.startswith(
        "Of 2 attacks, the one that brought back most trained a copy of the new model on a few other records to forget,"
        " by plain gradient descent. After 10 steps the perplexity of the text to forget was 22.5 (95 % interval: 20.2"
        " to 24.8), measured on 16 records that the attack was not shown. Higher is better"
    )
    assert "it is 40 in the new model and was 1.2 in the model before the job" in worst.answer


def test_the_retrained_model_under_the_same_attack_stands_beside_it() -> None:
    worst = find_worst(report(measured(forget=(40, 30)), retrained=measured(forget=(41, 35))))
    assert worst is not None
    assert worst.answer.startswith("The attack that was made trained")
    assert "came to 35 by the same attack in as many steps" in worst.answer


def test_without_a_retrained_model_unseen_text_stands_beside_it() -> None:
    worst = find_worst(report(measured(forget=(40, 30), unseen=(50, 45))))
    assert worst is not None
    assert "never seen went from 50 to 45 in the same copy" in worst.answer


def test_the_state_before_any_step_is_no_attack() -> None:
    assert find_worst(report(measured(forget=(40,)))) is None
    assert find_worst(report(None)) is None
