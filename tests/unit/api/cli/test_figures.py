"""Measurements as tables."""

from rich.console import Console

from api.cli.figures import figure_text, print_figures, print_table
from core.schema.evaluation import Attack, CutShort, Figure, MeasurementResult, StepFigure


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    return Figure(value=value, low=low, high=high, records=7)


def shown(result: MeasurementResult, width: int = 120) -> list[str]:
    console = Console(width=width, record=True, file=None, quiet=True)
    with console.capture() as captured:
        console.quiet = False
        print_figures(result, console)
    return [line.rstrip() for line in captured.get().splitlines()]


def test_every_kind_of_figure_is_shown_with_its_interval() -> None:
    result = MeasurementResult(
        sets={"forget": {"perplexity": figure(1.23456, 1, 2)}, "unseen": {"perplexity": figure(9), "cloze": figure(0)}},
        attacks={"loss": Attack(auc=figure(0.75, 0.5, 0.9), tpr_at_1_fpr=figure(0), tpr_at_5_fpr=figure(1), roc=[])},
        across={"privleak_loss": figure(-12.5), "baseline_auc": figure(0.5)},
        notes={"privleak_loss": "AUC_ref: 0.5"},
        variants={"int4": {"forget": {"perplexity": figure(3)}}},
        curves={
            "relearned_forget": [StepFigure(step=4, figure=figure(0.5, 0.25, 1))],
            "weight_distance_layers": [StepFigure(step=3, figure=figure(0.125))],
            "weight_line_loss": [StepFigure(step=75, figure=figure(2.5))],
        },
        benchmarks={"a_task": {"acc": figure(0.25)}},
        cut_short=[CutShort(measurement="twins", what="forget", done=3, of=9, reason="seconds")],
        warnings=["forget: few"],
    )
    lines = shown(result)
    for words in (
        "forget (7) unseen (7)",
        "perplexity 1.235 [1, 2] 9",
        "cloze 0",
        "loss 0.75 [0.5, 0.9] 0 1",
        "privleak_loss -12.5 AUC_ref: 0.5",
        "baseline_auc 0.5",
        "int4 forget (7)",
        "perplexity 3",
        "after 4 steps 0.5 [0.25, 1]",
        "layer 3 0.125",
        "75 % of the way back 2.5",
        "acc 0.25",
        "cut short: twins, forget: 3 of 9 (its time was up)",
        "warning: forget: few",
    ):
        assert words in [" ".join(line.split()) for line in lines], words


def test_names_and_numbers_are_shown_as_they_are() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        print_table("as tofu has it", {"forget_quality": 0.25}, console)
    assert [" ".join(line.split()) for line in captured.get().splitlines()] == ["as tofu has it", "forget_quality 0.25"]


def test_a_narrow_terminal_shows_the_sets_below_each_other_and_cuts_nothing_off() -> None:
    names = ("forget", "retain", "unseen", "general")
    result = MeasurementResult(
        sets={name: {"perplexity_tokens": figure(12345.678, 12000.1, 13000.1)} for name in names}
    )
    lines = shown(result, width=80)
    assert sum(line.startswith("perplexity_tokens") for line in lines) == 4
    assert all(figure_text(figure(12345.678, 12000.1, 13000.1)) in line for line in lines if line.startswith("perpl"))
    assert sum(line.startswith("perplexity_tokens") for line in shown(result, width=160)) == 1
