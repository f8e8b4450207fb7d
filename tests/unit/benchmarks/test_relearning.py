"""The tables of the relearning benchmark."""

import pytest

from benchmarks import relearning
from benchmarks.machine import Machine
from benchmarks.relearning import Row, attack_table, cost_table, lowest_ratio, section
from core.schema.evaluation import Attack, Figure, Measurements, StepFigure


def figure(value: float) -> Figure:
    return Figure(value=value, low=value - 0.1, high=value + 0.1, records=34)


def measured(*, forget: tuple[float, ...], lora: tuple[float, ...]) -> Measurements:
    """Perplexities after 0, 10 and 50 steps of two attacks."""

    def curve(values: tuple[float, ...]) -> list[StepFigure]:
        return [StepFigure(step=step, figure=figure(v)) for step, v in zip((0, 10, 50), values, strict=True)]

    rate = figure(0.5)
    attack = Attack(auc=rate, tpr_at_1_fpr=rate, tpr_at_5_fpr=rate, roc=[(0.0, 0.0), (1.0, 1.0)])
    return Measurements(
        sets={name: {"perplexity": figure(forget[0])} for name in ("forget", "unseen", "retain")},
        attacks={"loss": attack, "min_k++_20": attack},
        curves={"relearned_forget": curve(forget), "relearned_lora": curve(lora)},
        seconds=0.0,
        model_digest="0" * 64,
    )


RETRAINED = measured(forget=(100.0, 90.0, 80.0), lora=(100.0, 60.0, 50.0))
WEAK = measured(forget=(70.0, 44.0, 41.0), lora=(70.0, 40.0, 10.0))


def test_a_perplexity_under_half_of_the_retrained_models_is_in_brackets() -> None:
    lines = attack_table(RETRAINED, {"none": Row(measurements=WEAK)}).splitlines()
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert cells["attack"] == ["retrained", "none"]
    assert cells["forget"] == ["100.0 → 90.0 → 80.0", "70.0 → (44.0) → 41.0"]
    assert cells["lora"] == ["100.0 → 60.0 → 50.0", "70.0 → 40.0 → (10.0)"]
    assert cells["sgd"] == ["–", "–"]
    assert cells["the lowest ratio"] == ["", "0.20, lora at 50"]


def test_the_lowest_ratio_is_after_a_step_that_both_models_made() -> None:
    without = RETRAINED.model_copy(update={"curves": {"relearned_forget": RETRAINED.curves["relearned_forget"]}})
    assert lowest_ratio(WEAK, without) == "0.49, forget at 10"
    assert lowest_ratio(WEAK, RETRAINED.model_copy(update={"curves": {}})) == "–"


def test_tokens_are_compared_with_the_first_defence(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "none": Row(measurements=WEAK, tokens=1000, seconds=10.4),
        "both": Row(measurements=WEAK, tokens=1460, seconds=20.0),
    }
    table = cost_table(RETRAINED, rows)  # type: ignore[arg-type]
    assert "1,000 (1.00)" in table
    assert "1,460 (1.46)" in table
    monkeypatch.setattr(relearning, "current_machine", lambda: Machine("cpu", "a processor", "none"))
    text = section(RETRAINED, rows, "unlearn bench relearning")  # type: ignore[arg-type]
    assert text.startswith("Made by `unlearn bench relearning` on")
    assert table in text
