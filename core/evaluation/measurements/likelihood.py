"""Likelihood and memorization of each set's text, from one pass through the model."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import OnePass, ProducedFigures
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import Columns, EvalContext
    from core.evaluation.stats.bootstrap import Resamples


class Likelihood(OnePass):
    name: ClassVar[str] = "likelihood"
    summary: ClassVar[str] = (
        "How probable each set's text is for the model. `perplexity`: exp of the mean cross entropy over records;"
        " `perplexity_tokens`: the same mean over tokens. `accuracy`: the share of tokens that the model ranks first,"
        " given the true text before (also shown as `exact_memorization`). `probability`: the mean over records of"
        " the geometric mean of the tokens' probabilities, exp(-CE). `extraction_strength`: 1 - k/n, where k is the"
        " smallest number of leading tokens after which the model predicts all of the n tokens right."
        " `extraction_strength_highest`: the largest extraction strength of a single record."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        figures=(
            "perplexity",
            "perplexity_tokens",
            "accuracy",
            "probability",
            "exact_memorization",
            "extraction_strength",
            "extraction_strength_highest",
        )
    )
    order: ClassVar[int] = -10

    only: list[SetName] = Field(default=[], max_length=6, description="the sets to measure; empty: every set")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.record_scores import record_scores

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        warnings: list[str] = []
        for name in (name for name in context.sets if not self.only or name in self.only):
            context.check_stop()
            columns = record_scores(context, name, self.records)
            budget.note_left_out(name, done=len(columns["loss"]), of=len(context.sets[name]), reason="records")
            sets[name] = figures(columns, context.resamples(name))
            warnings += _warnings(name, columns)
        return MeasurementResult(sets=sets, warnings=warnings, cut_short=budget.cut_short)


def figures(columns: "Columns", resamples: "Resamples") -> dict[str, Figure]:
    """The figures of a set: means over records, for `perplexity_tokens` over tokens, and one maximum."""
    import numpy as np

    from core.evaluation.scores import likelihood
    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    equal = np.ones(len(columns["loss"]))
    means = {
        "perplexity": (columns["loss"], equal),
        "perplexity_tokens": (columns["loss"], columns["tokens"]),
        "accuracy": (columns["accuracy"], equal),
        "probability": (columns["probability"], equal),
        "exact_memorization": (columns["accuracy"], equal),
        "extraction_strength": (columns["extraction_strength"], equal),
    }
    through = {"perplexity": likelihood.perplexity, "perplexity_tokens": likelihood.perplexity}
    figures = weighted_means(means, resamples, through=through, ranges=dict.fromkeys(through, AMOUNT))
    highest = float(columns["extraction_strength"].max())
    # The maximum describes these records alone, so it is known exactly.
    figures["extraction_strength_highest"] = Figure(value=highest, low=highest, high=highest, records=len(equal))
    return figures


def _warnings(name: SetName, columns: "Columns") -> list[str]:
    from core.evaluation.scores.likelihood import MOST_NATS

    warnings = []
    if len(columns["loss"]) == 1:
        warnings.append(f"{name}: one record has no interval")
    if columns["loss"].mean() > MOST_NATS:
        warnings.append(f"{name}: the perplexity is beyond what a number can hold; 1e304 stands for it")
    return warnings
