"""Quantization: whether forgotten text stays forgotten in quantised copies of the model."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName
from core.schema.figure_names import SYMMETRIC_FIGURES, VARIANTS

if TYPE_CHECKING:
    from core.evaluation.eval_context import Columns, EvalContext

_SETS: tuple[SetName, ...] = ("forget", "unseen", "retain")
_LEAST_SHARE = 0.9
"""Share of the weights below the head: if fewer are rounded, a warning says that the copy is not fully quantised."""
_FIGURES = ("perplexity", "probability", "accuracy", "extraction_strength", "extraction_strength_highest")


def _symmetric(figure: str, variant: str) -> str:
    return f"quantized_symmetric_{figure}_{variant}"


class Quantized(Budgeted):
    name: ClassVar[str] = "quantized"
    summary: ClassVar[str] = (
        "`perplexity`, `probability`, `accuracy`, `extraction_strength` and `extraction_strength_highest` of forget,"
        " unseen and retain, measured once more on smaller copies of the model. In the copies the weights of all linear"
        " layers except the head are rounded to 8 bits (`int8`: each output has a symmetric scale) and to 4 bits"
        " (`int4`: each group of neighbouring weights has a scale); adapters are merged first. Rounding to 4 bits can"
        " bring back most of the text that small changes of the weights had hidden. Where the job names a retrained"
        " model, the symmetric"
        " score of each copy is measured for both models: `quantized_symmetric_probability_<copy>` and"
        " `quantized_symmetric_extraction_strength_<copy>` are 1 - |a - b| / (|a| + |b|), where a is the copy's mean"
        " over forget records and b that of the model itself. 1: rounding changes nothing."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=_FIGURES,
        sets=_SETS,
        variants=VARIANTS,
        across=tuple(_symmetric(figure, variant) for variant in VARIANTS for figure in SYMMETRIC_FIGURES),
    )
    source: ClassVar[Source] = Source(
        title="Zhang et al. 2024, Catastrophic Failure of LLM Unlearning via Quantization",
        url="https://arxiv.org/abs/2410.16454",
    )
    moments: ClassVar[frozenset[Moment]] = frozenset({"after", "retrained"})
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    is_attack: ClassVar[bool] = True
    changes_weights: ClassVar[bool] = True

    records: int | None = Field(default=1000, ge=1, description="at most this many records of a set; null: all")
    group_size: Literal[32, 64, 128] = Field(
        default=128, description="neighbouring weights of a row that share a scale in `int4`"
    )

    @property
    def passes(self) -> float:
        """One of each copy."""
        return float(len(VARIANTS))

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.quantization import int4, int8, round_weights
        from core.evaluation.measurements.likelihood import figures
        from core.lm import adapter

        budget, result = self.budget(context), MeasurementResult()
        own = self._own_columns(context)
        for variant, rounded in (("int8", int8), ("int4", partial(int4, group=self.group_size))):
            context.unload_model()  # each copy is made from the weights on disk
            if adapter.has_adapter(context.model):
                adapter.merge(context.model)
            share = round_weights(context.model, rounded)
            if share < _LEAST_SHARE:
                result.warnings.append(f"quantized: {variant} rounds only {share:.0%} of the weights below the head")
            result.variants[variant] = {}
            for name in _SETS:
                if records := len(context.sets.get(name, [])):
                    indices = context.subset_indices(name, self.records)
                    if budget.expired():
                        budget.note_left_out(f"{variant} {name}", done=0, of=records, reason="seconds")
                        continue
                    budget.note_left_out(f"{variant} {name}", done=len(indices), of=records, reason="records")
                    columns = self._columns(context, variant, name, indices)
                    all_figures = figures(columns, context.resamples(name))
                    result.variants[variant][name] = {figure: all_figures[figure] for figure in _FIGURES}
                    if name == "forget" and own is not None:
                        result.across |= _symmetric_scores(context, variant, columns, own)
        result.cut_short = budget.cut_short
        return result

    def _own_columns(self, context: "EvalContext") -> "Columns | None":
        """The model's own scores of the forget records that its copies are measured on; None without a comparison."""
        from core.evaluation.record_scores import record_scores

        if context.retrained is None and context.moment != "retrained":
            return None
        indices = context.subset_indices("forget", self.records)
        scores = record_scores(context, "forget")
        return {figure: scores[figure][indices] for figure in SYMMETRIC_FIGURES}

    def _columns(self, context: "EvalContext", variant: str, name: SetName, indices: list[int]) -> "Columns":
        from core.evaluation.record_scores import columns_from_statistics

        records = [context.sets[name][index] for index in indices]
        return columns_from_statistics(context.statistics(records, label=f"{variant} {name}"), records)


def _symmetric_scores(context: "EvalContext", variant: str, copy: "Columns", own: "Columns") -> dict[str, Figure]:
    from core.evaluation.scores.symmetric import symmetric_score

    resamples = context.resamples("forget")
    return {
        _symmetric(figure, variant): symmetric_score(copy[figure], own[figure], resamples)
        for figure in SYMMETRIC_FIGURES
    }
