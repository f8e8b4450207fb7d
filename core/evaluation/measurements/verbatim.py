"""Does the model go on with a record as the record does?"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


_NAMES = {f"verbatim_{column}": column for column in ("recall", "f1", "longest")}


class Verbatim(Budgeted):
    name: ClassVar[str] = "verbatim"
    summary: ClassVar[str] = (
        "Greedy continuation of the first half of a plain text, or of the whole prompt, as long as the true rest:"
        " `verbatim_recall` and `verbatim_f1`, ROUGE-L of words without stemming (a character is a word where a script"
        " puts no spaces), and `verbatim_longest`, the longest common run of tokens. Of forget and unseen."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=tuple(_NAMES), sets=("forget", "unseen"))
    source: ClassVar[Source | None] = Source(
        title="Quantifying Memorization Across Neural Language Models", url="https://arxiv.org/abs/2202.07646"
    )
    over: ClassVar[tuple[SetName, ...]] = ("forget", "unseen")

    records: int | None = Field(default=200, ge=1, description="at most so many records of a set; null: all")
    tokens: int = Field(default=128, ge=1, le=4096, description="at most so many tokens of the rest")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.verbatim_memorization import mean_figures, memorization_columns

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        warnings: list[str] = []
        for name in (one for one in self.over if one in context.sets):
            columns, said = memorization_columns(context, name, limit=self.records, tokens=self.tokens, budget=budget)
            warnings += [f"{self.name}: {one}" for one in said]
            if figures := mean_figures(columns, _NAMES, context, name):
                sets[name] = figures
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)


class VerbatimRetain(Verbatim):
    name: ClassVar[str] = "verbatim_retain"
    summary: ClassVar[str] = "The figures of `verbatim`, of the retain set: what must still be said."
    group: ClassVar[Group | None] = "thorough"
    needs: ClassVar[frozenset[SetName]] = frozenset({"retain"})
    reads: ClassVar[frozenset[SetName] | None] = frozenset({"retain"})
    over: ClassVar[tuple[SetName, ...]] = ("retain",)
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=tuple(_NAMES), sets=over)
