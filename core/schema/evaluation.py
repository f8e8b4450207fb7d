"""Measurements: what is asked to be measured, and the figures with their intervals, per set and per attack."""

from typing import Any, Literal

from pydantic import Field

from core.schema.strict import Strict

Moment = Literal["before", "after", "retrained"]
"""Which model: the one that the job starts from, the one that it saved, or a retrained one that it was given."""

SetName = Literal["forget", "retain", "unseen", "general", "probes", "protected"]
"""`probes` ask about what must be forgotten, `protected` about what must survive."""

JUDGED_ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20")
"""The membership attacks that a verdict goes by, unless a policy names others."""


class Figure(Strict):
    """One number, its 95 % bootstrap interval over records, and how many records it stands on."""

    value: float = Field(description="the figure itself")
    low: float | None = Field(description="lower end of its 95 % interval; null: there is none")
    high: float | None = Field(description="upper end of its 95 % interval; null: there is none")
    records: int = Field(description="how many records it stands on")


class Attack(Strict):
    """A membership attack, forget (member) against unseen (non-member); higher scores mean more like a member."""

    auc: Figure = Field(description="signed: below 0.5 is over-unlearning, and a leak too")
    tpr_at_1_fpr: Figure = Field(description="share of members found where 1 % of non-members are taken for members")
    tpr_at_5_fpr: Figure = Field(description="the same at 5 %")
    roc: list[tuple[float, float]] = Field(description="(false positive rate, true positive rate), ascending")
    joint: tuple[float, float] | None = Field(
        default=None,
        description="the AUC's interval at the level at which those of all attacks that are judged hold together in"
        " 95 % of cases; without resampling",
    )


class StepFigure(Strict):
    """A figure after so many steps."""

    step: int = Field(description="steps made so far")
    figure: Figure = Field(description="the figure after them")


class CutShort(Strict):
    """A figure that stands on fewer records, or steps, than there are."""

    measurement: str = Field(description="which measurement")
    what: str = Field(description="the set, or the curve")
    done: int = Field(description="records, or steps, that were looked at")
    of: int = Field(description="how many there are")
    reason: Literal["records", "seconds"] = Field(description="its limit on records, or its time was up")


class MeasurementResult(Strict):
    """What one measurement found."""

    sets: dict[SetName, dict[str, Figure]] = Field(default={}, description="per set: its figures by name")
    attacks: dict[str, Attack] = Field(default={}, description="membership attacks by name")
    across: dict[str, Figure] = Field(default={}, description="figures of several sets, or of several models")
    notes: dict[str, str] = Field(
        default={}, description="what one has to know to read a figure of `across`, by its name: which AUC_ref it is of"
    )
    variants: dict[str, dict[SetName, dict[str, Figure]]] = Field(
        default={}, description="the sets' figures of a changed copy of the model, such as `int4`"
    )
    curves: dict[str, list[StepFigure]] = Field(default={}, description="figures along steps, such as of relearning")
    benchmarks: dict[str, dict[str, Figure]] = Field(default={}, description="a benchmark task's metrics")
    cut_short: list[CutShort] = Field(default=[], description="figures that stand on less than there is")
    warnings: list[str] = Field(default=[], description="what must be known to read the figures")


class Measurements(MeasurementResult):
    """What one model scored on the measuring parts of the sets."""

    records: dict[SetName, int] = Field(default={}, description="how many there are to measure on, of each set")
    seconds: float = Field(description="that measuring took")
    seconds_of: dict[str, float] = Field(default={}, description="of each measurement")
    model_digest: str = Field(description="digest of the model directory that was measured")


class MeasurementChoice(Strict, extra="allow"):
    """A measurement's name, and its parameters beside it."""

    name: str = Field(max_length=64, description="the measurement's name, see docs/measurements.md")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})
