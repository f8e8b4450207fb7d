"""The demo's tables of a job's figures, on a terminal of 80 columns."""

from typing import Any

from rich.console import Console

from api.cli.demo_table import comparison_table, print_verdict
from core.schema.policies import Bound, JudgedBound, Judgement


def figure(value: float) -> dict[str, Any]:
    return {"value": value, "low": value / 2, "high": value * 2, "records": 200}


def measured(value: float, *, with_copy: bool = True) -> dict[str, Any]:
    sets = {"forget": {"perplexity": figure(value), "verbatim_recall": figure(0.5), "perplexity_tokens": figure(7)}}
    copies = {"int4": {"forget": {"perplexity": figure(2 * value)}}} if with_copy else {}
    return {"sets": sets, "variants": copies, "attacks": {"loss": {"auc": figure(0.75)}}}


def lines(printed: Any) -> list[str]:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(printed)
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def test_each_model_has_a_column_and_each_figure_of_any_model_a_row() -> None:
    shown = lines(
        comparison_table({"before": measured(1.5, with_copy=False), "after": measured(30), "retrained": measured(40)})
    )
    assert shown[0].split() == ["before", "after", "retrained"]
    assert [" ".join(line.split()) for line in shown[2:]] == [
        "forget",
        "perplexity 1.500 0.75–3.00 30.0 15.0–60.0 40.0 20.0–80.0",
        "verbatim recall 0.500 0.25–1.00 0.500 0.25–1.00 0.500 0.25–1.00",
        "forget, in 4 bits",
        "perplexity – 60.0 30.0–120 80.0 40.0–160",
        "membership AUC",
        "loss 0.750 0.38–1.50 0.750 0.38–1.50 0.750 0.38–1.50",
    ]
    assert max(map(len, shown)) <= 80


def test_a_missing_model_has_no_column() -> None:
    shown = lines(comparison_table({"before": measured(1.5), "after": measured(30), "retrained": None}))
    assert shown[0].split() == ["before", "after"]


def test_the_verdict_is_printed_above_the_missed_bounds() -> None:
    bound = Bound(name="cloze", set="forget", figure="cloze", high=0.1)
    missed = JudgedBound(bound=bound, value=0.5, limit_low=None, limit_high=0.1, result="failed", carries=True)
    judgement = Judgement(policy="house", verdict="failed", scope="facts", bounds=[missed])
    console = Console(width=80)
    with console.capture() as captured:
        print_verdict(judgement.model_dump(mode="json"), console)
    assert [line.strip() for line in captured.get().splitlines()] == [
        "verdict by policy house: failed, of the text and of questions about it",
        "0 of 1 bounds are kept",
        "cloze: cloze of forget is 0.5, wanted at most 0.1: failed",
    ]
