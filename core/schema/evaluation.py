"""Measurements: figures with their intervals, per set and per attack."""

from typing import Literal

from pydantic import Field

from core.schema.strict import Strict

Moment = Literal["before", "after"]
SetName = Literal["forget", "retain", "unseen", "general"]


class Figure(Strict):
    """One number, its 95 % bootstrap interval over records, and how many records it stands on."""

    value: float
    low: float | None
    high: float | None
    records: int


class Attack(Strict):
    """A membership attack, forget (member) against unseen (non-member); higher scores mean more like a member."""

    auc: Figure = Field(description="signed: below 0.5 is over-unlearning, and a leak too")
    tpr_at_1_fpr: Figure
    tpr_at_5_fpr: Figure
    roc: list[tuple[float, float]] = Field(description="(false positive rate, true positive rate), ascending")


class Measurements(Strict):
    """What one model scored on the measuring parts of the sets."""

    sets: dict[SetName, dict[str, Figure]]
    attacks: dict[str, Attack] = {}
    warnings: list[str] = []
    seconds: float
    model_digest: str = Field(description="digest of the model directory that was measured")
