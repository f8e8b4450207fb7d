"""Verbatim memorization: whether the model continues a record with the record's own words."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


_NAMES = {f"verbatim_{column}": column for column in ("recall", "f1", "longest")}
_HIGHEST = "verbatim_recall_highest"


class Verbatim(Budgeted):
    name: ClassVar[str] = "verbatim"
    summary: ClassVar[str] = (
        "The model continues the first half of a plain text, or answers the whole prompt, with its most probable"
        " words, as many tokens as the true rest has. `verbatim_recall` and `verbatim_f1`: how many words of the true"
        " rest are in it in order (ROUGE-L, without stemming; in scripts without spaces each character is a word)."
        " `verbatim_longest`: the longest run of tokens that both texts have. `verbatim_recall_highest`: the recall of"
        " the record that is given back most, among records with at least 8 tokens to write. Measured on forget and"
        " unseen records."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=(*_NAMES, _HIGHEST), sets=("forget", "unseen"))
    source: ClassVar[Source | None] = Source(
        title="Quantifying Memorization Across Neural Language Models", url="https://arxiv.org/abs/2202.07646"
    )
    measured_sets: ClassVar[tuple[SetName, ...]] = ("forget", "unseen")

    records: int | None = Field(default=200, ge=1, description="at most this many records of a set; null: all")
    tokens: int = Field(default=128, ge=1, le=4096, description="at most this many tokens of a continuation")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.verbatim_memorization import highest_recall, mean_figures, memorization_columns

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        warnings: list[str] = []
        for name in (name for name in self.measured_sets if name in context.sets):
            columns, set_warnings = memorization_columns(
                context, name, limit=self.records, tokens=self.tokens, budget=budget
            )
            warnings += [f"{self.name}: {warning}" for warning in set_warnings]
            if figures := mean_figures(columns, _NAMES, context, name):
                highest = highest_recall(columns)
                sets[name] = figures if highest is None else {**figures, _HIGHEST: highest}
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)


class VerbatimRetain(Verbatim):
    name: ClassVar[str] = "verbatim_retain"
    summary: ClassVar[str] = "The figures of `verbatim` for the retain set, which the model must still know."
    group: ClassVar[Group | None] = "thorough"
    needs: ClassVar[frozenset[SetName]] = frozenset({"retain"})
    reads: ClassVar[frozenset[SetName] | None] = frozenset({"retain"})
    measured_sets: ClassVar[tuple[SetName, ...]] = ("retain",)
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=(*_NAMES, _HIGHEST), sets=measured_sets)
