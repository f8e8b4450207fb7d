"""Does the model still write as it did?"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class Fluency(Budgeted):
    name: ClassVar[str] = "fluency"
    summary: ClassVar[str] = (
        "Of text sampled at temperature 1 from the first parts of unseen and retain records, means over texts, in"
        " tokens: `fluency_distinct_1` and `fluency_distinct_2`, different tokens (pairs) over all of them;"
        " `fluency_repetition`, the share of runs of four that stood in the text before; `fluency_perplexity`,"
        " exp(mean CE) of the text under the model that the job started from."
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

    records: int | None = Field(default=100, ge=1, description="at most so many records of a set; null: all")
    tokens: int = Field(default=128, ge=1, le=4096, description="of a text, at most; as many as the true rest has")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.generation.written_text import diversity_columns, perplexity_columns, write_texts
        from core.evaluation.scores.likelihood import perplexity
        from core.evaluation.stats.bootstrap import AMOUNT, SHARE, weighted_means

        budget = self.budget(context)
        through = {"fluency_perplexity": perplexity}
        texts = {}
        asked: tuple[SetName, ...] = ("unseen", "retain")
        for name in (one for one in asked if one in context.sets):
            texts[name] = write_texts(context, name, limit=self.records, tokens=self.tokens, budget=budget)
        original = context if context.moment == "before" else context.original
        if texts and original is not context:
            context.unload_model()  # the two need not be there at once
        found = MeasurementResult(cut_short=budget.cut_short)
        if original is None:
            found.warnings.append("fluency: no perplexity: the model that the job started from is not at hand")
        for name, some in texts.items():
            columns = diversity_columns(some)
            if original is not None:
                columns |= perplexity_columns(original, some)
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
                    found.warnings.append(f"fluency: {name}: the model writes too little for {figure}")
            if figures:
                found.sets[name] = figures
        if original is not None and original is not context:
            original.unload_model()
        return found
