"""Cloze: whether the model recovers a record's names, numbers and dates from the text before them."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, ProducedFigures
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class Cloze(Budgeted):
    name: ClassVar[str] = "cloze"
    summary: ClassVar[str] = (
        "Asks for each name, number and date of a record by the text before it. `cloze`: the share of these values"
        " that the model's most probable continuation begins with, averaged over records. `cloze_sampled`: the same"
        " where one right continuation among several samples (temperature 1) is enough. `cloze_highest`: the share of"
        " the record with most of its values recovered, among records with at least 3 values. The figures of unseen"
        " records show what a good guesser reaches."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("cloze", "cloze_sampled", "cloze_highest"), sets=("forget", "unseen")
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    cheaper: ClassVar[tuple[dict[str, Any], ...]] = ({"samples": 1}, {"records": 20})

    records: int | None = Field(default=64, ge=1, description="at most this many records of a set; null: all")
    blanks: int = Field(default=4, ge=1, le=64, description="at most this many values of each record")
    samples: int = Field(default=4, ge=1, le=64, description="continuations drawn for each value: the best one counts")

    @property
    def passes(self) -> float:
        """The text before each value, and a value for each sample."""
        return self.blanks * (0.6 + self.samples / 10)

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.cloze_recovery import GREEDY, SAMPLED, measure_recovery

        figures = {GREEDY: "cloze", SAMPLED: "cloze_sampled"}
        return measure_recovery(
            context,
            self,
            limit=self.blanks,
            samples=self.samples,
            fill=False,
            figures=figures,
            highest="cloze_highest",
        )
