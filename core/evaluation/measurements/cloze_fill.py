"""Cloze for models that follow instructions: the whole record is shown with a blank in it."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class ClozeFill(Budgeted):
    name: ClassVar[str] = "cloze_fill"
    summary: ClassVar[str] = (
        "As `cloze`, for models that follow instructions: the model sees the whole record with `____` in place of the"
        " value and is asked to write it again up to that place. `cloze_fill`: the share of values that its most"
        " probable continuation begins with, averaged over records. `cloze_fill_sampled`: the same where one right"
        " continuation among several samples (temperature 1) is enough. The figures of unseen records show what a"
        " guesser reaches who sees the rest of the record."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("cloze_fill", "cloze_fill_sampled"), sets=("forget", "unseen")
    )
    group: ClassVar[Group | None] = "thorough"
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})

    records: int | None = Field(default=64, ge=1, description="at most this many records of a set; null: all")
    blanks: int = Field(default=4, ge=1, le=64, description="at most this many values of each record")
    samples: int = Field(default=4, ge=1, le=64, description="continuations drawn for each value: the best one counts")

    @property
    def passes(self) -> float:
        """The record, and its text before each value, and a value for each sample."""
        return self.blanks * (1.6 + self.samples / 10)

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.cloze_recovery import GREEDY, SAMPLED, measure_recovery

        figures = {GREEDY: "cloze_fill", SAMPLED: "cloze_fill_sampled"}
        return measure_recovery(context, self, limit=self.blanks, samples=self.samples, fill=True, figures=figures)
