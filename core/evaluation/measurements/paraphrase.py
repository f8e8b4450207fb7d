"""Is what a record says still known when it is asked for in other words?"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


_NAMES = {"paraphrase_recall": "recall", "paraphrase_probability": "probability"}
_SETS: tuple[SetName, ...] = ("forget", "probes")


class Paraphrase(Budgeted):
    name: ClassVar[str] = "paraphrase"
    summary: ClassVar[str] = (
        "Of probes and forget records that have `paraphrases`, each put in the prompt's place and answered greedily, as"
        " long as the true answer: `paraphrase_recall` ROUGE-L recall, and `paraphrase_probability` exp(-CE) of the"
        " true answer; means over a record's paraphrases, then over records."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=tuple(_NAMES), sets=_SETS)
    source: ClassVar[Source | None] = Source(
        title="TOFU: A Task of Fictitious Unlearning for LLMs", url="https://arxiv.org/abs/2401.06121"
    )

    records: int | None = Field(default=200, ge=1, description="at most so many records of a set; null: all")
    tokens: int = Field(default=128, ge=1, le=4096, description="at most so many tokens of the answer are written")
    each: int = Field(default=4, ge=1, le=1000, description="the first so many paraphrases of a record")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.paraphrased_prompts import paraphrase_columns
        from core.evaluation.attacks.verbatim_memorization import mean_figures

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        warnings: list[str] = []
        for name in (one for one in _SETS if one in context.sets):
            columns, said = paraphrase_columns(
                context, name, limit=self.records, tokens=self.tokens, each=self.each, budget=budget
            )
            warnings += [f"{self.name}: {one}" for one in said]
            if columns is not None and (figures := mean_figures(columns, _NAMES, context, name)):
                sets[name] = figures
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)
