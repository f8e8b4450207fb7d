"""Does the model bring a record's names, numbers and dates back, each asked for by the text before it?"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, ProducedFigures
from core.schema.evaluation import MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class Cloze(Budgeted):
    name: ClassVar[str] = "cloze"
    summary: ClassVar[str] = (
        "Each record's specifics blanked one at a time and asked for by the text before them: `cloze`, the mean over"
        " records of the share that the greedy continuation begins with; `cloze_sampled`, that any of the samples at"
        " temperature 1 begins with. The unseen set's are what a guesser reaches."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=("cloze", "cloze_sampled"), sets=("forget", "unseen"))
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})

    records: int | None = Field(default=64, ge=1, description="at most so many records of a set; null: all")
    blanks: int = Field(default=4, ge=1, le=64, description="at most so many of each record")
    samples: int = Field(default=4, ge=1, le=64, description="drawn of each blank: the best counts")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.cloze_recovery import GREEDY, SAMPLED, measure_recovery

        figures = {GREEDY: "cloze", SAMPLED: "cloze_sampled"}
        return measure_recovery(context, self, limit=self.blanks, samples=self.samples, fill=False, figures=figures)
