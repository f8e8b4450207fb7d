"""Does it stay forgotten in the small copies of the model that are served?"""

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

_SETS: tuple[SetName, ...] = ("forget", "unseen", "retain")
_MOST = 0.9
"""Of the weights below the head: where fewer are rounded, the copy is not what its name says."""
_FIGURES = ("perplexity", "probability", "accuracy", "extraction_strength")


class Quantized(Budgeted):
    name: ClassVar[str] = "quantized"
    summary: ClassVar[str] = (
        "`perplexity`, `probability`, `accuracy` and `extraction_strength` of forget, unseen and retain once more, with"
        " the weights of all linear layers but the head (adapters merged) rounded to 8 bits (`int8`: each output on a"
        " symmetric scale of its own) and to 4 (`int4`: each group of neighbours on a scale of its own). Rounding to 4"
        " bits can bring back most of what small changes of the weights have hidden."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=_FIGURES, sets=_SETS, variants=("int8", "int4"))
    source: ClassVar[Source] = Source(
        title="Zhang et al. 2024, Catastrophic Failure of LLM Unlearning via Quantization",
        url="https://arxiv.org/abs/2410.16454",
    )
    moments: ClassVar[frozenset[Moment]] = frozenset({"after", "retrained"})
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    is_attack: ClassVar[bool] = True
    changes_weights: ClassVar[bool] = True

    records: int | None = Field(default=1000, ge=1, description="at most so many records of a set; null: all")
    group_size: Literal[32, 64, 128] = Field(
        default=128, description="neighbours in a row of weights that share a scale in `int4`"
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.quantization import int4, int8, round_weights
        from core.lm import adapter

        budget, found = self.budget(context), MeasurementResult()
        for variant, rounded in (("int8", int8), ("int4", partial(int4, group=self.group_size))):
            context.unload_model()  # each copy is made of the weights as they lie on disk
            if adapter.has_adapter(context.model):
                adapter.merge(context.model)
            share = round_weights(context.model, rounded)
            if share < _MOST:
                found.warnings.append(f"quantized: {variant} rounds only {share:.0%} of the weights below the head")
            found.variants[variant] = {}
            for name in _SETS:
                if records := len(context.sets.get(name, [])):
                    places = context.subset_indices(name, self.records)
                    if budget.expired():
                        budget.note_left_out(f"{variant} {name}", done=0, of=records, reason="seconds")
                        continue
                    budget.note_left_out(f"{variant} {name}", done=len(places), of=records, reason="records")
                    found.variants[variant][name] = self._figures(context, variant, name, places)
        found.cut_short = budget.cut_short
        return found

    def _figures(self, context: "EvalContext", variant: str, name: SetName, places: list[int]) -> dict[str, Figure]:
        from core.evaluation.measurements.likelihood import figures
        from core.evaluation.record_scores import columns_from_statistics

        chosen = [context.sets[name][place] for place in places]
        statistics = context.statistics(chosen, label=f"{variant} {name}")
        every = figures(columns_from_statistics(statistics, chosen), context.resamples(name))
        return {figure: every[figure] for figure in _FIGURES}
