"""The same in a form for models that follow instructions: the whole record is shown, with a blank in it."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class ClozeFill(Budgeted):
    name: ClassVar[str] = "cloze_fill"
    summary: ClassVar[str] = (
        "Each record's specifics blanked one at a time, the whole record shown with `____` and asked for again up to"
        " the blank: `cloze_fill`, the mean over records of the share that the greedy continuation begins with;"
        " `cloze_fill_sampled`, that any of the samples at temperature 1 begins with. The unseen set's are what a"
        " guesser reaches, who sees the rest of the record."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("cloze_fill", "cloze_fill_sampled"), sets=("forget", "unseen")
    )
    group: ClassVar[Group | None] = "thorough"
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})

    records: int | None = Field(default=64, ge=1, description="at most so many records of a set; null: all")
    blanks: int = Field(default=4, ge=1, le=64, description="at most so many of each record")
    samples: int = Field(default=4, ge=1, le=64, description="drawn of each blank: the best counts")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.cloze_recovery import GREEDY, SAMPLED, measure_recovery

        figures = {GREEDY: "cloze_fill", SAMPLED: "cloze_fill_sampled"}
        return measure_recovery(context, self, limit=self.blanks, samples=self.samples, fill=True, figures=figures)
