"""What the preset `muse` shows beside our own figures: MUSE's verbatim and knowledge memorization."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, Source
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

STOPS = ("\n\n", "\nQuestion", "Question:")
"""Where MUSE takes an answer to have ended."""
_PERCENT = (0.0, 100.0)


class Muse(Budgeted):
    name: ClassVar[str] = "muse"
    summary: ClassVar[str] = (
        "As MUSE has them, 100 times the mean ROUGE-L F1: `verbmem_muse` of greedy continuations of forget records"
        " against the first tokens of what follows; `knowmem_muse` of greedy answers to probes, and to protected probes"
        " (of the group `retain` where there is one)."
    )
    source: ClassVar[Source | None] = Source(
        title="Shi et al. 2024, MUSE: Machine Unlearning Six-Way Evaluation for Language Models",
        url="https://arxiv.org/abs/2407.06460",
    )
    group: ClassVar[Group | None] = None

    verbatim_tokens: int = Field(default=128, ge=1, le=4096, description="of a continuation, and of what truly follows")
    knowledge_tokens: int = Field(default=32, ge=1, le=4096, description="of an answer, at most")

    def measure(self, context: "EvalContext") -> MeasurementResult:
        import numpy as np

        from core.evaluation.generation.greedy_answers import answer_overlap
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        sets: dict[SetName, dict[str, Figure]] = {}
        asked: tuple[SetName, ...] = ("forget", "probes", "protected")
        for name in (name for name in asked if name in context.sets):
            records = context.sets[name]
            every = [place for place, one in enumerate(records) if one.group == "retain"] if name == "protected" else []
            wanted = set(every or range(len(records)))
            places = [place for place in context.subset_indices(name, self.records) if place in wanted]
            if not places:
                continue
            budget.note_left_out(name, done=len(places), of=len(wanted), reason="records")
            if name == "forget":
                most = self.verbatim_tokens
                columns = answer_overlap(context, name, places, budget, tokens=most, words="latin", truth_tokens=most)
            else:
                columns = answer_overlap(
                    context, name, places, budget, tokens=self.knowledge_tokens, words="latin", stops=STOPS
                )
            figure = "verbmem_muse" if name == "forget" else "knowmem_muse"
            means = {figure: (100 * columns["f1"], np.ones(len(columns["f1"])))}
            sets[name] = weighted_means(means, context.resamples(name), through={}, ranges={figure: _PERCENT})
        missing = [name for name in asked if name not in sets]
        warnings = [f"{self.name}: not measured without records of {name}" for name in missing]
        return MeasurementResult(sets=sets, cut_short=budget.cut_short, warnings=warnings)
