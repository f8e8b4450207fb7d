"""MUSE's verbatim and knowledge memorization, for the preset `muse`."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

STOPS = ("\n\n", "\nQuestion", "Question:")
"""MUSE ends an answer before these texts."""
_PERCENT = (0.0, 100.0)


class Muse(Budgeted):
    name: ClassVar[str] = "muse"
    summary: ClassVar[str] = (
        "Figures as the MUSE benchmark defines them, each 100 times a mean ROUGE-L F1. `verbmem_muse`: the model's"
        " most probable continuation of each forget record, compared with the first tokens of the true one."
        " `knowmem_muse`: the model's answers to probes, and to protected probes (of the group `retain` if there is"
        " one)."
    )
    source: ClassVar[Source | None] = Source(
        title="Shi et al. 2024, MUSE: Machine Unlearning Six-Way Evaluation for Language Models",
        url="https://arxiv.org/abs/2407.06460",
    )
    group: ClassVar[Group | None] = None

    verbatim_tokens: int = Field(
        default=128, ge=1, le=4096, description="tokens of a continuation, and of the true one"
    )
    knowledge_tokens: int = Field(default=32, ge=1, le=4096, description="at most this many tokens of an answer")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.generation.greedy_answers import answer_overlap
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        measured: tuple[SetName, ...] = ("forget", "probes", "protected")
        for name in (name for name in measured if name in context.sets):
            records = context.sets[name]
            every = range(len(records))
            retain = [index for index in every if name == "protected" and records[index].group == "retain"]
            eligible = set(retain or every)
            indices = [index for index in context.subset_indices(name, self.records) if index in eligible]
            if not indices:
                continue
            budget.note_left_out(name, done=len(indices), of=len(eligible), reason="records")
            if name == "forget":
                most = self.verbatim_tokens
                columns = answer_overlap(context, name, indices, budget, tokens=most, words="latin", truth_tokens=most)
            else:
                columns = answer_overlap(
                    context, name, indices, budget, tokens=self.knowledge_tokens, words="latin", stops=STOPS
                )
            figure = "verbmem_muse" if name == "forget" else "knowmem_muse"
            means = {figure: (100 * columns["f1"], np.ones(len(columns["f1"])))}
            sets[name] = weighted_means(means, context.resamples(name), through={}, ranges={figure: _PERCENT})
        missing = [name for name in measured if name not in sets]
        warnings = [f"{self.name}: not measured without records of {name}" for name in missing]
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)
