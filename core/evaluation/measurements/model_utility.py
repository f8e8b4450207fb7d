"""What the model can still do where it must: one number over the groups of the protected probes."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.evaluation.budget import Budget
from core.evaluation.measurement import Budgeted, ProducedFigures, Source
from core.evaluation.measurements.wrong_answers import TOFU
from core.schema.evaluation import Figure, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext
    from core.evaluation.scores.model_utility import Part


class ModelUtility(Budgeted):
    name: ClassVar[str] = "model_utility"
    summary: ClassVar[str] = (
        "`model_utility`, the harmonic mean over the groups of protected probes of: probability (among the wrong"
        " answers where the group has them, but of `plain` groups), ROUGE-L recall of the greedy answer, truth ratio"
        " (where the group has wrong answers). 0 if one of them is. Each by itself: `utility_<part>_<group>`."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=("model_utility",))
    source: ClassVar[Source | None] = TOFU
    needs: ClassVar[frozenset[SetName]] = frozenset({"protected"})

    records: int | None = Field(default=400, ge=1, description="at most so many records; null: all")
    tokens: int | None = Field(
        default=None, ge=1, le=4096, description="of an answer, at most; null: as many as the true one has"
    )
    words: Literal["any", "latin", "stems"] = Field(
        default="any", description="what ROUGE compares: words of any script, Latin ones, or their stems (Porter)"
    )
    plain: list[str] = Field(
        default=["retain"], description="groups whose probability is the answer's own, wrong answers or not"
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.scores.model_utility import model_utility
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        places = context.subset_indices("protected", self.records)
        budget.note_left_out("protected", done=len(places), of=len(context.sets["protected"]), reason="records")
        groups = self._groups(context, places, budget)
        cuts = {
            (cut.what, cut.reason): cut for cut in reversed(budget.cut_short)
        }  # all records' before those with answers
        found = MeasurementResult(cut_short=list(reversed(cuts.values())))
        figures: dict[str, Figure] = {}
        for name, parts in groups.items():
            for part, (values, weights) in parts.items():
                told = weights > 0
                if not told.any():
                    found.warnings.append(f"{self.name}: no time for {part} of {name}, so it is left out as a whole")
                    return found
                own = {part: (values[told], weights[told])}
                figure = weighted_means(own, context.resamples(f"{self.name} {name}"), through={})[part]
                figures[f"utility_{part}_{name}"] = figure
            if "truth_ratio" not in parts:
                found.warnings.append(f"{self.name}: {name} has no wrong answers, so no truth ratio of it counts")
        found.sets["protected"] = figures
        found.across["model_utility"] = model_utility(groups, context.resamples(self.name))
        return found

    def _groups(self, context: "EvalContext", places: list[int], budget: Budget) -> "dict[str, dict[str, Part]]":
        """The parts of each group; a record's weight is 0 where it has no such value."""
        import numpy as np

        from core.evaluation.generation.greedy_answers import answer_overlap
        from core.evaluation.record_scores import record_scores
        from core.evaluation.scores.answer_probabilities import answer_losses
        from core.evaluation.scores.truth_ratio import log_ratios, probability_among_wrong, truth_ratios

        records = context.sets["protected"]
        count = len(places)
        told = {"probability": record_scores(context, "protected")["probability"][places]}
        wrong = np.array([bool(records[place].wrong_answers()) for place in places])
        if (columns := answer_losses(context, "protected", self.records, budget)) is not None:
            among, ratios = probability_among_wrong(columns), truth_ratios(log_ratios(columns), "protected")
            whose = np.flatnonzero(wrong)[: len(among)]
            told |= {"among": np.zeros(count), "truth_ratio": np.zeros(count)}
            told["among"][whose], told["truth_ratio"][whose] = among, ratios
            asked = np.isin(np.arange(count), whose).astype(np.float64)
        recall = answer_overlap(context, "protected", places, budget, tokens=self.tokens, words=self.words)["recall"]
        answered = (np.arange(count) < len(recall)).astype(np.float64)
        told["rouge"] = np.concatenate([recall, np.zeros(count - len(recall))])
        names = [records[place].group or "protected" for place in places]
        groups: dict[str, dict[str, Part]] = {}
        for name in sorted(set(names)):
            own = np.array([one == name for one in names])
            parts: dict[str, Part] = {"rouge": (told["rouge"][own], answered[own])}
            if wrong[own].any():
                parts["truth_ratio"] = (told["truth_ratio"][own], asked[own])
            if wrong[own].any() and name not in self.plain:
                parts["probability"] = (told["among"][own], asked[own])
            else:
                parts["probability"] = (told["probability"][own], np.ones(own.sum()))
            groups[name] = parts
        return groups
