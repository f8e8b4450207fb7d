"""Paraphrased prompts: whether the model still knows a record's answer when it is asked in other words."""

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
        "Asks forget records and probes in the words of their `paraphrases` instead of their own prompt."
        " `paraphrase_recall`: how much of the true answer is in the model's most probable answer of the same length"
        " (ROUGE-L recall). `paraphrase_probability`: the probability of the true answer, exp(-CE). Both are averaged"
        " over the paraphrases of a record and then over records."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=tuple(_NAMES), sets=_SETS)
    source: ClassVar[Source | None] = Source(
        title="TOFU: A Task of Fictitious Unlearning for LLMs", url="https://arxiv.org/abs/2401.06121"
    )

    records: int | None = Field(default=200, ge=1, description="at most this many records of a set; null: all")
    tokens: int = Field(default=128, ge=1, le=4096, description="at most this many tokens of an answer")
    each: int = Field(default=4, ge=1, le=1000, description="at most this many paraphrases of a record, the first ones")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.paraphrased_prompts import paraphrase_columns
        from core.evaluation.attacks.verbatim_memorization import mean_figures

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        warnings: list[str] = []
        for name in (name for name in _SETS if name in context.sets):
            columns, set_warnings = paraphrase_columns(
                context, name, limit=self.records, tokens=self.tokens, each=self.each, budget=budget
            )
            warnings += [f"{self.name}: {warning}" for warning in set_warnings]
            if columns is not None and (figures := mean_figures(columns, _NAMES, context, name)):
                sets[name] = figures
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)
