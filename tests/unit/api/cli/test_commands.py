"""The commands' messages about keys, verdicts, bounds and dry runs."""

from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from api.cli import policy_text
from api.cli.app import app
from api.cli.progress import verdict_text
from api.cli.session import Session
from api.cli.submit import _deliver
from api.client import UnlearningClient
from core.schema.jobs import Job
from core.schema.policies import Bound, JudgedBound, Judgement


def test_a_key_with_an_unknown_scope_is_refused() -> None:
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
def test_a_verdict_is_described_in_words(data: dict[str, Any], words: str) -> None:
    assert verdict_text(data) == words


@pytest.mark.parametrize(
    ("bound", "figure", "comparison", "limits"),
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
def test_a_bound_is_described_in_words(bound: dict[str, Any], figure: str, comparison: str, limits: str) -> None:
    dumped = Bound.model_validate({"name": "one", **bound}).model_dump(mode="json")
    assert (policy_text.figure_text(dumped), policy_text.comparison_text(dumped), policy_text.limits_text(dumped)) == (
        figure,
        comparison,
        limits,
    )


def judged_bound(name: str, **fields: Any) -> dict[str, Any]:
    bound = Bound(name=name, set="forget", figure="perplexity", against="retrained", by="ratio", low=0.5, high=2)
    values = {"bound": bound, "limit_low": 0.5, "limit_high": 2.0, "carries": True, **fields}
    return JudgedBound.model_validate(values).model_dump(mode="json")


def test_each_missed_bound_that_counts_has_a_line() -> None:
    lines = policy_text.missed_bounds(
        [
            judged_bound("kept", result="passed", value=1.0, low=0.9, high=1.1),
            judged_bound("broken", result="failed", value=0.25, low=0.2, high=0.3),
            judged_bound("unsure", result="underpowered", why="underpowered", value=1.0),
            judged_bound("gone", result="not_judged", why="not_measured"),
            judged_bound("aside", result="failed", value=0.25, low=0.2, high=0.3, carries=False),
        ]
    )
    description = "perplexity of forget, ratio to a retrained model, or unseen text in its place"
    assert lines == [
        f"broken: {description} is 0.25 (0.2 to 0.3), wanted 0.5 to 2: failed",
        f"unsure: {description} is 1, wanted 0.5 to 2: underpowered",
        f"gone: {description}, wanted 0.5 to 2: not judged, not measured",
    ]


def test_a_verdict_fits_into_80_columns_and_has_a_description_on_a_wide_terminal() -> None:
    bound = JudgedBound.model_validate(judged_bound("membership.min_k++_20", result="underpowered", why="underpowered"))
    measured = bound.model_copy(update={"value": -0.29, "low": -0.3161, "high": -0.265})
    judgement = Judgement(
        policy="house", verdict="not_judged", reason="underpowered", scope="verbatim", bounds=[measured]
    )
    for width, words in (
        (80, ""),
        (160, "perplexity of forget, ratio to a retrained model, or unseen text in its place "),
    ):
        console = Console(width=width)
        with console.capture() as captured:
            console.print(policy_text.judgement_table(judgement, width=width))
        _, row = captured.get().splitlines()
        expected = f"membership.min_k++_20 {words}-0.29 [-0.316, -0.265] 0.5 to 2 underpowered"
        assert " ".join(row.split()) == expected


def test_a_finished_dry_run_prints_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job.model_construct(status="succeeded", checkpoint=None, outcome="nothing_to_forget")
    with UnlearningClient("http://nowhere", "no key") as client:
        _deliver(Session(client, as_json=False), job, None)
    assert "nothing_to_forget" in capsys.readouterr().out
