"""The figures that a policy's bounds are judged by: of the model, the model before it, and the retrained model."""

import math
from dataclasses import dataclass

from core.evaluation.policy.requirements import was_cut_short
from core.evaluation.stats.comparison import FEW
from core.schema.evaluation import Attack, Figure, Measurements, SetName
from core.schema.figure_names import RELEARNED_BESIDE_RETRAINED
from core.schema.policies import Bound, Yardstick

NEVER_SEEN_RANKS = Figure(value=0.5, low=0.5 - 1.96 / math.sqrt(1200), high=0.5 + 1.96 / math.sqrt(1200), records=100)
"""The mean rank of 100 records that the model never saw: ranks are uniform, with a deviation of 1 / sqrt(12). Used
where no unseen records were ranked, to tell how far ranks lie apart."""

SINGLE = 0
"""The step of a figure that is not a point of a curve."""


@dataclass(frozen=True)
class Evidence:
    """The measurements of up to three models. `before` is the model that the job started from."""

    before: Measurements | None
    after: Measurements
    retrained: Measurements | None
    retrained_knows: bool = False
    """The supplied retrained model has seen the forget set."""
    doubted: bool = False
    """The retrained model itself is judged, by any yardstick: few unseen records must not make it believed."""

    @property
    def unchanged(self) -> bool:
        """True if the judged model is the one that the job started from."""
        return self.before is not None and self.before.model_digest == self.after.model_digest

    def size(self, name: SetName) -> int:
        """The set's number of records as far as it is known; records within a measurement's limit count as all."""
        figures = self.after.sets.get(name, {}).values()
        return max([self.after.records.get(name, 0), *(figure.records for figure in figures)])

    @property
    def forget_records(self) -> int:
        return self.size("forget")

    def suffices(self, bound: Bound, figure: Figure | None) -> bool:
        """Whether there are enough records for the bound to count, however few of them were measured."""
        if bound.set is not None:
            size = self.size(bound.set)
        elif bound.benchmark is not None:
            cuts = [cut for cut in self.after.cut_short if cut.measurement == "benchmarks"]
            size = max((cut.of for cut in cuts if cut.what == bound.benchmark), default=0)
        else:
            size = self.size("protected" if bound.across == "model_utility" else "forget")
        records = max(size, 0 if figure is None else figure.records)
        return records == 0 or records >= bound.judged_from

    def may_be_missing(self, bound: Bound) -> bool:
        """Whether a missing figure is no fault: no model has it, or there is nothing to compare relearning with.

        False where fewer records were measured than by default: more records might have shown the figure."""
        if bound.optional_from is None or self.forget_records < bound.optional_from:
            return False
        if bound.across in RELEARNED_BESIDE_RETRAINED:
            return self.retrained is None
        if bound.curve is not None and bound.against == "retrained" and self.retrained is None:
            return True
        models = [model for model in (self.before, self.after, self.retrained) if model is not None]
        return not any(figures_by_step(bound, model) or was_cut_short(bound, model.cut_short) for model in models)

    def yardstick(self, bound: Bound) -> Yardstick | None:
        """The source of the figures that the bound compares with; None where the bound compares with none."""
        if bound.against is None:
            return None
        if bound.against == "before":
            return "before"
        if self.has_retrained_yardstick(bound):
            return "retrained_model"
        if bound.attack is not None:
            return "chance"
        return None if bound.curve is not None else "unseen_text"

    def has_retrained_yardstick(self, bound: Bound) -> bool:
        """Whether the retrained model's own figure is at hand. It cannot attack itself with the `reference` attack."""
        return self.retrained is not None and bound.attack != "reference"

    @property
    def unseen(self) -> dict[str, Figure]:
        """The original model's figures on the unseen set."""
        return {} if self.before is None else self.before.sets.get("unseen", {})

    def larger_sample(self, figure: str) -> Figure | None:
        """The unseen set's figure, which tells how far records lie apart where the forget set has few.

        `exposure_rank`: the ranks of records that the model never saw, where unseen records are many but not ranked.
        """
        measured = self.unseen.get(figure)
        if measured is None and figure == "exposure_rank":
            perplexity = self.unseen.get("perplexity")
            return NEVER_SEEN_RANKS if perplexity is not None and perplexity.records >= FEW else None
        return measured

    @property
    def has_unseen(self) -> bool:
        return bool(self.unseen) or "unseen" in self.after.sets


def figures_by_step(bound: Bound, measurements: Measurements) -> dict[int, Figure]:
    """The figures that a bound names, by step: those of a curve, else a SINGLE one; empty where none was measured."""
    if bound.curve is not None:
        return {point.step: point.figure for point in measurements.curves.get(bound.curve, [])}
    figure: Figure | None = None
    if bound.attack is not None:
        attack = measurements.attacks.get(bound.attack)
        figure = None if attack is None else _auc(attack)
    elif bound.across is not None:
        figure = measurements.across.get(bound.across)
    elif bound.benchmark is not None:
        figure = measurements.benchmarks.get(bound.benchmark, {}).get(bound.figure or "")
    elif bound.set is not None:
        sets = measurements.sets if bound.variant is None else measurements.variants.get(bound.variant, {})
        figure = sets.get(bound.set, {}).get(bound.figure or "")
    return {} if figure is None else {SINGLE: figure}


def _auc(attack: Attack) -> Figure:
    """The AUC, with the interval that is corrected for the number of judged attacks."""
    if attack.joint is None:
        return attack.auc
    return attack.auc.model_copy(update={"low": attack.joint[0], "high": attack.joint[1]})
