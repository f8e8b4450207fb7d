from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from api.cli import policy_text
from api.cli.app import app
from api.cli.progress import verdict_text
from api.cli.submit import _deliver
from api.client import Client
from core.schema.policies import Bound, JudgedBound, Judgement


def test_a_key_is_not_made_with_a_scope_that_opens_nothing() -> None:
    done = CliRunner().invoke(app, ["keys", "create", "first", "--scope", "jobs:reed"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "no such scope: jobs:reed" in done.output


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"policy": "default", "verdict": "passed", "reason": None, "scope": "facts"},
            "verdict by policy default: passed, of the text and of questions about it",
        ),
        (
            {"policy": "house", "verdict": "not_judged", "reason": "no_reference_text", "scope": "verbatim"},
            "verdict by policy house: not judged (no reference text), of the text itself",
        ),
    ],
)
def test_a_verdict_is_told_in_words(data: dict[str, Any], words: str) -> None:
    assert verdict_text(data) == words


@pytest.mark.parametrize(
    ("bound", "about", "held", "limits"),
    [
        ({"set": "forget", "figure": "cloze", "high": 0.1}, "cloze of forget", "", "at most 0.1"),
        (
            {"attack": "loss", "against": "retrained", "low": -0.1, "high": 0.1},
            "AUC of attack loss",
            "difference to a retrained model, or unseen text in its place",
            "-0.1 to 0.1",
        ),
        ({"across": "forget_quality", "low": 0.05}, "forget quality", "", "at least 0.05"),
        (
            {"benchmark": "mmlu", "figure": "acc", "against": "before", "by": "ratio", "low": 0.95},
            "acc of mmlu",
            "ratio to before",
            "at least 0.95",
        ),
    ],
)
def test_a_bound_is_told_in_words(bound: dict[str, Any], about: str, held: str, limits: str) -> None:
    whole = Bound.model_validate({"name": "one", **bound}).model_dump(mode="json")
    assert (policy_text.figure_text(whole), policy_text.comparison_text(whole), policy_text.limits_text(whole)) == (
        about,
        held,
        limits,
    )


def judged(name: str, **how: Any) -> dict[str, Any]:
    bound = Bound(name=name, set="forget", figure="perplexity", against="retrained", by="ratio", low=0.5, high=2)
    known = {"bound": bound, "limit_low": 0.5, "limit_high": 2.0, "carries": True, **how}
    return JudgedBound.model_validate(known).model_dump(mode="json")


def test_the_bounds_that_stand_in_a_verdicts_way_are_told_in_a_line_each() -> None:
    lines = policy_text.missed_bounds(
        [
            judged("kept", result="passed", value=1.0, low=0.9, high=1.1),
            judged("broken", result="failed", value=0.25, low=0.2, high=0.3),
            judged("unsure", result="underpowered", why="underpowered", value=1.0),
            judged("gone", result="not_judged", why="not_measured"),
            judged("aside", result="failed", value=0.25, low=0.2, high=0.3, carries=False),
        ]
    )
    about = "perplexity of forget, ratio to a retrained model, or unseen text in its place"
    assert lines == [
        f"broken: {about} is 0.25 (0.2 to 0.3), wanted 0.5 to 2: failed",
        f"unsure: {about} is 1, wanted 0.5 to 2: underpowered",
        f"gone: {about}, wanted 0.5 to 2: not judged, not measured",
    ]


def test_a_verdict_fits_a_terminal_of_80_columns_and_says_more_on_a_wide_one() -> None:
    bound = JudgedBound.model_validate(judged("membership.min_k++_20", result="underpowered", why="underpowered"))
    known = bound.model_copy(update={"value": -0.29, "low": -0.3161, "high": -0.265})
    judgement = Judgement(policy="house", verdict="not_judged", reason="underpowered", scope="verbatim", bounds=[known])
    for width, words in (
        (80, ""),
        (160, "perplexity of forget, ratio to a retrained model, or unseen text in its place "),
    ):
        console = Console(width=width)
        with console.capture() as captured:
            console.print(policy_text.judgement_table(judgement, width=width))
        _, row = captured.get().splitlines()
        told = f"membership.min_k++_20 {words}-0.29 [-0.316, -0.265] 0.5 to 2 underpowered"
        assert " ".join(row.split()) == told


def test_a_dry_run_that_is_over_says_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    over = {"status": "succeeded", "checkpoint": None, "outcome": "nothing_to_forget"}
    with Client("http://nowhere", "no key") as client:
        _deliver(client, over, None)
    assert "nothing_to_forget" in capsys.readouterr().out
