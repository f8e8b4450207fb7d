"""Membership inference: whether forget text can be told from unseen text by how probable the model finds it."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import OnePass, ProducedFigures
from core.schema.evaluation import JUDGED_ATTACKS, MeasurementResult, SetName
from core.schema.figure_names import LIKELIHOOD_ATTACKS

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class Membership(OnePass):
    name: ClassVar[str] = "membership"
    summary: ClassVar[str] = (
        "Membership inference attacks, forget (member) against unseen (non-member): `loss`, `zlib`, `min_k_<percent>`"
        " and `min_k++_<percent>`. A higher score means more like a member. Each attack has its AUC (0.5: the attack"
        " cannot tell them apart; below 0.5, forget text is less familiar than unseen text, which is a leak too), its"
        " true positive rate at 1 % and at 5 % false positives, and its ROC curve."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(attacks=LIKELIHOOD_ATTACKS)
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget", "unseen"})

    judged: int = Field(
        default=len(JUDGED_ATTACKS),
        ge=1,
        le=100,
        description="number of attacks that are judged together, which each AUC's `joint` interval is corrected for",
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks import membership
        from core.evaluation.record_scores import attack_scores, record_scores
        from core.evaluation.stats.auc import FEW

        budget = self.budget(context)
        names: tuple[SetName, ...] = ("forget", "unseen")
        forget, unseen = (attack_scores(record_scores(context, name, self.records)) for name in names)
        for name, scores in zip(names, (forget, unseen), strict=True):
            budget.note_left_out(name, done=len(scores["loss"]), of=len(context.sets[name]), reason="records")
        warnings = [
            f"{name}: fewer than {FEW} records ({count}), on which an AUC says little: see its interval"
            for name, count in (("forget", len(forget["loss"])), ("unseen", len(unseen["loss"])))
            if count < FEW
        ]
        resamples = context.resamples("membership")
        attacks = {
            attack: membership.evaluate_attack(members, unseen[attack], resamples, judged=self.judged)
            for attack, members in forget.items()
        }
        return MeasurementResult(attacks=attacks, warnings=warnings, cut_short=budget.cut_short)
