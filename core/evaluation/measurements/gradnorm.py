"""Gradient norm attack: whether forget text changes the weights less than text that the model never saw."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import JUDGED_ATTACKS, MeasurementResult, SetName

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class GradNorm(Budgeted):
    name: ClassVar[str] = "gradnorm"
    summary: ClassVar[str] = (
        "The membership attack `gradnorm`, forget (member) against unseen (non-member): the negative length of the"
        " loss's gradient over all weights, -||grad CE||_2, from one backward pass per record. A record that was"
        " learned by heart leaves little to learn, so its gradient is short."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(attacks=("gradnorm",))
    source: ClassVar[Source | None] = Source(
        title="Wang et al. 2024, Pandora's White-Box: Precise Training Data Detection and Extraction in LLMs",
        url="https://arxiv.org/abs/2402.17012",
    )
    group: ClassVar[Group | None] = "thorough"
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget", "unseen"})
    is_attack: ClassVar[bool] = True

    records: int | None = Field(default=200, ge=1, description="at most this many records of a set; null: all")
    judged: int = Field(
        default=len(JUDGED_ATTACKS),
        ge=1,
        le=100,
        description="number of attacks that are judged together, which the AUC's `joint` interval is corrected for",
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from itertools import groupby, zip_longest

        import numpy as np

        from core.evaluation.attacks.gradient_norm import GradientNorms
        from core.evaluation.attacks.membership import evaluate_attack
        from core.evaluation.stats.auc import FEW

        budget = self.budget(context)
        names: tuple[SetName, ...] = ("forget", "unseen")
        chunks = {}
        for name in names:
            indices = context.subset_indices(name, self.records)
            budget.note_left_out(name, done=len(indices), of=len(context.sets[name]), reason="records")
            encoded = context.encode([context.sets[name][index] for index in indices])
            chunks[name] = [list(record) for _, record in groupby(encoded, key=lambda chunk: chunk.record)]
        norms: dict[SetName, list[float]] = {name: [] for name in names}
        gradients = GradientNorms(context.model, max_tokens=context.training.micro_batch_tokens)
        with gradients.ready():
            # The sets take turns, so that both have as many records where the time runs out.
            for pair in zip_longest(*(chunks[name] for name in names)):
                if budget.expired():
                    break
                for name, record in zip(names, pair, strict=True):
                    if record is not None:
                        norms[name].append(gradients.norm(record))
        for name in names:
            budget.note_left_out(name, done=len(norms[name]), of=len(chunks[name]), reason="seconds")
        result = MeasurementResult(cut_short=budget.cut_short)
        if not all(norms.values()):
            result.warnings.append("gradnorm: there was no time for a single record")
        elif not np.isfinite([*norms["forget"], *norms["unseen"]]).all():
            result.warnings.append("gradnorm: left out, since a gradient of this model is not a finite number")
        else:
            members, non_members = (-np.array(norms[name]) for name in names)
            result.attacks["gradnorm"] = evaluate_attack(
                members, non_members, context.resamples("gradnorm"), judged=self.judged
            )
            result.warnings += [
                f"gradnorm: an AUC on {len(norms[name])} records of {name}, fewer than {FEW}, says little"
                for name in names
                if len(norms[name]) < FEW
            ]
        return result
