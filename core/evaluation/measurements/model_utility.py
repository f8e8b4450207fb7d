"""Model utility: one number for the abilities that must survive, over the groups of the protected probes."""

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
        "`model_utility`: one number for the abilities that must survive, the harmonic mean of three parts of each"
        " group of protected probes. The parts are the probability of the right answer (relative to the wrong answers"
        " if the group has any, except in `plain` groups), the ROUGE-L recall of the model's answer, and the truth"
        " ratio (only for groups with wrong answers). It is 0 if one part is 0. Each part is shown by itself as"
        " `utility_<part>_<group>`."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(across=("model_utility",))
    source: ClassVar[Source | None] = TOFU
    needs: ClassVar[frozenset[SetName]] = frozenset({"protected"})

    records: int | None = Field(default=400, ge=1, description="at most this many records; null: all")
    tokens: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="at most this many tokens of an answer; null: as many as the true one",
    )
    words: Literal["any", "latin", "stems"] = Field(
        default="any", description="what ROUGE compares: words of any script, Latin ones, or their stems (Porter)"
    )
    plain: list[str] = Field(
        default=["retain"], description="groups that count the answer's own probability even if they have wrong answers"
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.scores.model_utility import model_utility
        from core.evaluation.stats.bootstrap import weighted_means

        budget = self.budget(context)
        indices = context.subset_indices("protected", self.records)
        budget.note_left_out("protected", done=len(indices), of=len(context.sets["protected"]), reason="records")
        groups = self._groups(context, indices, budget)
        # the note about all records takes precedence over the note about records with wrong answers
        cuts = {(cut.what, cut.reason): cut for cut in reversed(budget.cut_short)}
        result = MeasurementResult(cut_short=list(reversed(cuts.values())))
        figures: dict[str, Figure] = {}
        for name, parts in groups.items():
            for part, (values, weights) in parts.items():
                measured = weights > 0
                if not measured.any():
                    result.warnings.append(f"{self.name}: no time for {part} of {name}, so it is left out as a whole")
                    return result
                column = {part: (values[measured], weights[measured])}
                figure = weighted_means(column, context.resamples(f"{self.name} {name}"), through={})[part]
                figures[f"utility_{part}_{name}"] = figure
            if "truth_ratio" not in parts:
                result.warnings.append(f"{self.name}: {name} has no wrong answers, so no truth ratio of it counts")
        result.sets["protected"] = figures
        result.across["model_utility"] = model_utility(groups, context.resamples(self.name))
        return result

    def _groups(self, context: "EvalContext", indices: list[int], budget: Budget) -> "dict[str, dict[str, Part]]":
        """The parts of each group; a record's weight is 0 in a part that it has no value for."""
        import numpy as np

        from core.evaluation.generation.greedy_answers import answer_overlap
        from core.evaluation.record_scores import record_scores
        from core.evaluation.scores.answer_probabilities import answer_losses
        from core.evaluation.scores.truth_ratio import log_ratios, probability_among_wrong, truth_ratios

        records = context.sets["protected"]
        count = len(indices)
        columns = {"probability": record_scores(context, "protected")["probability"][indices]}
        has_wrong = np.array([bool(records[index].wrong_answers()) for index in indices])
        if (losses := answer_losses(context, "protected", self.records, budget)) is not None:
            relative, ratios = probability_among_wrong(losses), truth_ratios(log_ratios(losses), "protected")
            scored = np.flatnonzero(has_wrong)[: len(relative)]
            columns |= {"relative_probability": np.zeros(count), "truth_ratio": np.zeros(count)}
            columns["relative_probability"][scored], columns["truth_ratio"][scored] = relative, ratios
            has_losses = np.isin(np.arange(count), scored).astype(np.float64)
        recall = answer_overlap(context, "protected", indices, budget, tokens=self.tokens, words=self.words)["recall"]
        is_answered = (np.arange(count) < len(recall)).astype(np.float64)
        columns["rouge"] = np.concatenate([recall, np.zeros(count - len(recall))])
        names = [records[index].group or "protected" for index in indices]
        groups: dict[str, dict[str, Part]] = {}
        for group in sorted(set(names)):
            in_group = np.array([name == group for name in names])
            parts: dict[str, Part] = {"rouge": (columns["rouge"][in_group], is_answered[in_group])}
            if has_wrong[in_group].any():
                parts["truth_ratio"] = (columns["truth_ratio"][in_group], has_losses[in_group])
            if has_wrong[in_group].any() and group not in self.plain:
                parts["probability"] = (columns["relative_probability"][in_group], has_losses[in_group])
            else:
                parts["probability"] = (columns["probability"][in_group], np.ones(in_group.sum()))
            groups[group] = parts
        return groups
