"""Measurements: the choice of them, and their figures with intervals, per set and per attack."""

from typing import Any, Literal

from pydantic import Field

from core.schema.previously_forgotten import PreviouslyForgotten
from core.schema.strict import Strict

Moment = Literal["before", "after", "retrained"]
"""The measured model: `before` the job, `after` the job (as saved), or the `retrained` model that the job names."""

SetName = Literal["forget", "retain", "unseen", "general", "probes", "protected"]
"""`probes` are questions about what the model must forget, `protected` about what it must keep."""

JUDGED_ATTACKS = ("loss", "zlib", "min_k_20", "min_k_40", "min_k++_20")
"""The membership attacks that the default policy judges."""


class Figure(Strict):
    """A number with its 95 % bootstrap interval over records, and the number of records behind it."""

    value: float = Field(description="The number.")
    low: float | None = Field(description="The lower end of its 95 % interval. Null: there is no interval.")
    high: float | None = Field(description="The upper end of its 95 % interval. Null: there is no interval.")
    records: int = Field(description="The number of records that it was measured on.")


class Attack(Strict):
    """A membership attack: it tells forget records (members) from unseen ones. A member should score higher."""

    auc: Figure = Field(
        description="The area under the ROC curve. Above 0.5 the attack recognises the forgotten records. Below 0.5 the"
        " model knows them less than text that it never saw, which gives them away too."
    )
    tpr_at_1_fpr: Figure = Field(
        description="The share of members that the attack finds when it takes 1 % of non-members for members."
    )
    tpr_at_5_fpr: Figure = Field(
        description="The share of members that the attack finds when it takes 5 % of non-members for members."
    )
    roc: list[tuple[float, float]] = Field(
        description="The points of the ROC curve (false positive rate, true positive rate), ascending."
    )
    joint: tuple[float, float] | None = Field(
        default=None,
        description="A wider interval of the AUC: the intervals of all judged attacks hold together in 95 % of cases."
        " It is computed without resampling.",
    )


class StepFigure(Strict):
    """A point of a curve: a figure after a number of steps, of a layer, or at a place on a line."""

    step: int = Field(
        description="The number of steps. In `weight_distance_layers` it is the layer's number from 0, in"
        " `weight_line_loss` the percentage of the way back."
    )
    figure: Figure = Field(description="The figure after these steps, of this layer, or at this place.")


class CutShort(Strict):
    """A measurement that looked at fewer records, or made fewer steps, than there are."""

    measurement: str = Field(description="The measurement's name.")
    what: str = Field(description="The set, or the curve.")
    done: int = Field(description="The number of records, or steps, that were measured.")
    of: int = Field(description="The number of records, or steps, that there are.")
    reason: Literal["records", "seconds"] = Field(
        description="`records`: the measurement's limit on records. `seconds`: its time was up."
    )


class MeasurementResult(Strict):
    """The figures of one measurement."""

    sets: dict[SetName, dict[str, Figure]] = Field(default={}, description="The figures of each set, by name.")
    attacks: dict[str, Attack] = Field(default={}, description="The membership attacks, by name.")
    across: dict[str, Figure] = Field(default={}, description="Figures of several sets or several models, by name.")
    notes: dict[str, str] = Field(
        default={},
        description="What a reader must know about a figure of `across`, by its name, such as which AUC_ref it uses.",
    )
    variants: dict[str, dict[SetName, dict[str, Figure]]] = Field(
        default={}, description="The figures of the sets in a changed copy of the model, such as `int4`."
    )
    curves: dict[str, list[StepFigure]] = Field(
        default={}, description="Figures over steps, layers or places, such as the steps of relearning."
    )
    benchmarks: dict[str, dict[str, Figure]] = Field(default={}, description="The metrics of each benchmark task.")
    previously_forgotten: list[PreviouslyForgotten] = Field(
        default=[],
        description="Whether the text is still forgotten that earlier jobs made the model forget, newest first.",
    )
    cut_short: list[CutShort] = Field(
        default=[], description="Measurements that looked at fewer records, or made fewer steps, than there are."
    )
    warnings: list[str] = Field(default=[], description="What a reader must know about the figures.")


class Measurements(MeasurementResult):
    """The figures of one model, on the records of each set that are kept for measuring."""

    records: dict[SetName, int] = Field(
        default={}, description="The number of records in each set that are kept for measuring."
    )
    parameters: dict[str, dict[str, Any]] = Field(
        default={},
        description="All parameters of each measurement as it was made, by the measurement's name. Empty: the figures"
        " are from before the service kept them.",
    )
    seconds: float = Field(description="Seconds that all measurements took.")
    seconds_of: dict[str, float] = Field(default={}, description="Seconds that each measurement took.")
    model_digest: str = Field(description="The digest of the measured model's directory.")


class MeasurementChoice(Strict, extra="allow"):
    """A measurement's name, with its parameters as further fields."""

    name: str = Field(max_length=64, description="The measurement's name (docs/measurements.md lists them).")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})
