"""Fluency: whether the model still writes as well as before."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class Fluency(Budgeted):
    name: ClassVar[str] = "fluency"
    summary: ClassVar[str] = (
        "Samples text (temperature 1) that continues the first parts of unseen and retain records, and averages over"
        " the texts: `fluency_distinct_1` and `fluency_distinct_2`, the share of different tokens and of different"
        " pairs of tokens; `fluency_repetition`, the share of runs of four tokens that the text already had before;"
        " `fluency_perplexity`, the perplexity of the text under the model that the job started from (exp of the mean"
        " cross entropy)."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=("fluency_distinct_1", "fluency_distinct_2", "fluency_repetition", "fluency_perplexity"),
        sets=("unseen", "retain"),
    )
    source: ClassVar[Source | None] = Source(
        title="A Diversity-Promoting Objective Function for Neural Conversation Models",
        url="https://arxiv.org/abs/1510.03055",
    )
    group: ClassVar[Group | None] = "thorough"
    moments: ClassVar[frozenset[Moment]] = frozenset({"before", "after"})
    order: ClassVar[int] = 10

    records: int | None = Field(default=100, ge=1, description="at most this many records of a set; null: all")
    tokens: int = Field(
        default=128,
        ge=1,
        le=4096,
        description="at most this many tokens of a text, which is as long as the true continuation",
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.generation.written_text import diversity_columns, perplexity_columns, write_texts
        from core.evaluation.scores.likelihood import perplexity
        from core.evaluation.stats.bootstrap import AMOUNT, SHARE, weighted_means

        budget = self.budget(context)
        through = {"fluency_perplexity": perplexity}
        texts = {}
        measured: tuple[SetName, ...] = ("unseen", "retain")
        for name in (name for name in measured if name in context.sets):
            texts[name] = write_texts(context, name, limit=self.records, tokens=self.tokens, budget=budget)
        original = context if context.moment == "before" else context.original
        if texts and original is not context:
            context.unload_model()  # memory need not hold both models
        result = MeasurementResult(cut_short=budget.cut_short)
        if original is None:
            result.warnings.append("fluency: no perplexity: the model that the job started from is not at hand")
        for name, written in texts.items():
            columns = diversity_columns(written)
            if original is not None:
                columns |= perplexity_columns(original, written)
            figures: dict[str, Figure] = {}
            for figure, column in columns.items():
                if len(column):
                    figures |= weighted_means(
                        {figure: (column, column * 0 + 1)},
                        context.resamples(name),
                        through=through,
                        ranges={figure: AMOUNT if figure in through else SHARE},
                    )
                else:
                    result.warnings.append(f"fluency: {name}: the model writes too little for {figure}")
            if figures:
                result.sets[name] = figures
        if original is not None and original is not context:
            original.unload_model()
        return result
