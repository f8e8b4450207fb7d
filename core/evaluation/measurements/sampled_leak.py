"""Sampled leak: whether any of several samples gives a record back, even if the most probable text does not."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


_NAMES = {f"sampled_leak_{column}": column for column in ("recall", "f1", "longest")}


class SampledLeak(Budgeted):
    name: ClassVar[str] = "sampled_leak"
    summary: ClassVar[str] = (
        "As `verbatim`, with several samples (temperature 1) of each record instead of the most probable"
        " continuation; the best sample counts. `sampled_leak_recall` and `sampled_leak_f1`: ROUGE-L;"
        " `sampled_leak_longest`: the longest common run of tokens. Measured on forget and unseen records."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(figures=tuple(_NAMES), sets=("forget", "unseen"))
    source: ClassVar[Source | None] = Source(
        title="A Probabilistic Perspective on Unlearning and Alignment for Large Language Models",
        url="https://arxiv.org/abs/2410.03523",
    )
    group: ClassVar[Group | None] = "thorough"
    is_attack: ClassVar[bool] = True

    records: int | None = Field(default=100, ge=1, description="at most this many records of a set; null: all")
    tokens: int = Field(default=128, ge=1, le=4096, description="at most this many tokens of a continuation")
    samples: int = Field(default=8, ge=1, le=1024, description="samples of each record")

    @property
    def passes(self) -> float:
        """The first half of a record once, and a second half for each sample."""
        return (1.0 + self.samples) / 2

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks.verbatim_memorization import mean_figures, memorization_columns

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        warnings: list[str] = []
        measured: tuple[SetName, ...] = ("forget", "unseen")
        for name in (name for name in measured if name in context.sets):
            columns, set_warnings = memorization_columns(
                context, name, limit=self.records, tokens=self.tokens, samples=self.samples, budget=budget
            )
            warnings += [f"{self.name}: {warning}" for warning in set_warnings]
            if figures := mean_figures(columns, _NAMES, context, name):
                sets[name] = figures
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)
