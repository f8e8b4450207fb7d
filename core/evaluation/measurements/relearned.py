"""Relearning attack: how soon forgotten text comes back when the model is trained on a little of it."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.budget import Budget
from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Measurements, SetName, StepFigure
from core.schema.figure_names import RELEARNED_SYMMETRIC, RELEARNING_CURVES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.evaluation.eval_context import Columns, EvalContext
    from core.evaluation.stats.bootstrap import Values
    from core.schema.record import Record

_UNRELATED: tuple[SetName, ...] = ("general", "unseen", "retain")
"""Retain comes last: the model knows that text, so training on it changes little."""
FORGET, UNSEEN, UNRELATED = RELEARNING_CURVES
SYMMETRIC = dict(zip((FORGET, UNRELATED), RELEARNED_SYMMETRIC, strict=True))
HALF = "relearned_half_steps"


class Relearned(Budgeted):
    name: ClassVar[str] = "relearned"
    summary: ClassVar[str] = (
        "Trains copies of the model further and measures how soon forgotten text comes back, as curves of perplexity"
        " along the steps. `relearned_forget`: the other forget records, while one copy is fine-tuned (all weights)"
        " on a few forget records. `relearned_unseen`: unseen records in the same copy, since a model that never knew"
        " such text learns it too. `relearned_unrelated`: the same forget records, while a second copy is fine-tuned"
        " on as many general records (else unseen, else retain ones), which come from the measuring half but are not"
        " measured in that copy. `relearned_half_steps`: the number of steps until half of the loss that unlearning"
        " added is gone. For the model that a job starts from, only the first point is measured. Where the job names a"
        " retrained model, `relearned_symmetric` and `relearned_unrelated_symmetric` compare how much both models gain"
        " on the forget records until the last step, from the forget records and from the unrelated text:"
        " 1 - |Δ - Δ_retrained| / (|Δ| + |Δ_retrained|), where Δ is how far the mean loss falls. 1: both models"
        " relearn alike."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(curves=RELEARNING_CURVES, across=(HALF, *RELEARNED_SYMMETRIC))
    source: ClassVar[Source] = Source(
        title="Lynch et al. 2024, Eight Methods to Evaluate Robust Unlearning in LLMs; Hu et al. 2024, Jogging the"
        " Memory of Unlearned Models Through Targeted Relearning Attacks",
        url="https://arxiv.org/abs/2406.13356",
    )
    group: ClassVar[Group | None] = "thorough"
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    is_attack: ClassVar[bool] = True
    changes_weights: ClassVar[bool] = True
    order: ClassVar[int] = 10

    records: int | None = Field(default=200, ge=1, description="at most this many records are measured; null: all")
    shown: int = Field(
        default=10, ge=1, le=10_000, description="forget records to fine-tune on; at most a third of all"
    )
    steps: int = Field(default=20, ge=1, le=10_000, description="steps, each on all of these records")
    every: int = Field(default=5, ge=1, le=10_000, description="steps between two points of a curve")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="constant learning rate; null: 1e-4, and 2e-5 for a billion weights or more",
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.record_scores import record_scores

        forget, budget, result = context.sets["forget"], self.budget(context), MeasurementResult()
        # records that are trained on must not be measured
        shown = context.subset_indices("forget", min(self.shown, len(forget) // 3))
        measured: dict[SetName, list[int]] = {
            "forget": self._measured_forget(context, shown, budget),
            "unseen": context.subset_indices("unseen", self.records),
        }
        budget.note_left_out(
            "unseen", done=len(measured["unseen"]), of=len(context.sets.get("unseen", [])), reason="records"
        )
        result.cut_short = budget.cut_short
        start = {name: record_scores(context, name)["loss"][indices] for name, indices in measured.items() if indices}
        if context.moment == "before":
            result.curves[FORGET] = [_point(context, FORGET, 0, start["forget"])]
            return result
        if shown:
            curves: dict[SetName, str] = {"forget": FORGET, "unseen": UNSEEN}
            self._tune(context, [forget[index] for index in shown], measured, curves, start, budget, result)
        else:
            result.warnings.append("relearned: under 3 forget records are too few to train on some and measure others")
        if unrelated := self._unrelated(context, len(shown) or self.shown):
            forget_only: dict[SetName, list[int]] = {"forget": measured["forget"]}
            self._tune(context, unrelated, forget_only, {"forget": UNRELATED}, start, budget, result)
        else:
            result.warnings.append("relearned: there is no text beside the forget set to train on")
        if context.moment == "after" and context.retrained is not None:
            self._compare_with_retrained(context, context.retrained, result)
        return result

    def compare_with_original(self, original: Measurements, result: MeasurementResult) -> MeasurementResult:
        from core.evaluation.attacks.relearning import half_steps

        curve, before = result.curves.get(FORGET, []), original.curves.get(FORGET, [])
        if len(curve) < 2 or not before:
            return MeasurementResult()
        if curve[0].figure.value <= before[0].figure.value:
            return MeasurementResult(
                warnings=["relearned: the forget records' loss has not grown, so that none of it can be back"]
            )
        steps = half_steps(curve, before[0].figure.value)
        if steps is None:
            return MeasurementResult(warnings=[f"relearned: half is not back within {curve[-1].step} steps"])
        figure = Figure(value=steps, low=None, high=None, records=curve[0].figure.records)
        return MeasurementResult(across={HALF: figure})

    def _measured_forget(self, context: "EvalContext", shown: list[int], budget: Budget) -> list[int]:
        """Indices of the forget records that are measured: none of the records that are trained on."""
        count = len(context.sets["forget"]) - len(shown)
        limit = count if self.records is None else min(self.records, count)
        budget.note_left_out("forget", done=limit, of=count, reason="records")
        return [index for index in context.subset_indices("forget", len(shown) + limit) if index not in set(shown)]

    def _unrelated(self, context: "EvalContext", count: int) -> "Sequence[Record]":
        """Records of the measuring half that this copy does not measure: the calibrating half must decide no figure."""
        return next((context.sets[name] for name in _UNRELATED if name in context.sets), [])[:count]

    def _tune(
        self,
        context: "EvalContext",
        records: "Sequence[Record]",
        measured: dict[SetName, list[int]],
        names: dict[SetName, str],
        start: "dict[SetName, Values]",
        budget: Budget,
        result: MeasurementResult,
    ) -> None:
        """Fine-tunes a copy on the records and adds the curve of each measured set, under its name, to the result."""
        from core.lm.errors import CoreError, out_of_memory

        curves = {name: [_point(context, names[name], 0, losses)] for name, losses in start.items() if name in measured}
        forget: Columns = {"0": start["forget"]}  # losses of each record, by step
        try:
            for step in self._steps(context, records):
                if step % self.every == 0 or step == self.steps:
                    for name in curves:
                        losses = _losses(context, name, measured[name])
                        curves[name].append(_point(context, names[name], step, losses))
                        if name == "forget":
                            forget[str(step)] = losses
                if step < self.steps and budget.expired():
                    for name in curves:
                        budget.note_left_out(names[name], done=curves[name][-1].step, of=self.steps, reason="seconds")
                    break
        except Exception as error:  # an attack that fails does not fail the job
            diverged = isinstance(error, CoreError) and error.code == "not_finite"
            if not diverged and not out_of_memory(error):
                raise
            reason = "the learning rate is too high" if diverged else "training all weights does not fit in memory"
            result.warnings.append(f"relearned: no {' and '.join(names[name] for name in curves)}: {reason}")
            return
        result.curves |= {names[name]: curve for name, curve in curves.items()}
        context.keep_columns(names["forget"], "forget", forget)

    def _compare_with_retrained(
        self, context: "EvalContext", retrained: "EvalContext", result: MeasurementResult
    ) -> None:
        """Adds the symmetric scores of relearning to the result, each until the last step that both models made."""
        from core.evaluation.scores.symmetric import symmetric_score

        for curve, name in SYMMETRIC.items():
            own, other = (model.computed_columns(curve, "forget") or {} for model in (context, retrained))
            last = max((int(step) for step in own if step in other), default=0)
            if last:
                gains, other_gains = (losses["0"] - losses[str(last)] for losses in (own, other))
                result.across[name] = symmetric_score(gains, other_gains, context.resamples(curve))
                result.notes[name] = f"after {last} steps"
            elif curve in result.curves:
                result.warnings.append(f"relearned: no {name}: there is no step that both models made")

    def _steps(self, context: "EvalContext", records: "Sequence[Record]") -> "Iterator[int]":
        """Fine-tunes the context's model, loaded again from disk; yields the number of each step, from 1, after it."""
        from core.evaluation.attacks.relearning import FineTuning, default_learning_rate

        context.unload_model()
        learning_rate = self.learning_rate or default_learning_rate(context.model)
        chunks = context.encode(records)
        tuning = FineTuning(context.model, chunks, learning_rate=learning_rate, training=context.training)
        for step in range(1, self.steps + 1):
            tuning.step()
            yield step


def _losses(context: "EvalContext", name: SetName, indices: list[int]) -> "Values":
    from core.evaluation.scores.likelihood import cross_entropies

    records = [context.sets[name][index] for index in indices]
    return cross_entropies(context.statistics(records, label=f"{name}, fine-tuned,"))


def _point(context: "EvalContext", name: str, step: int, losses: "Values") -> StepFigure:
    import numpy as np

    from core.evaluation.scores.likelihood import perplexity
    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    column = {"perplexity": (losses, np.ones(len(losses)))}
    means = weighted_means(
        column, context.resamples(name), through={"perplexity": perplexity}, ranges={"perplexity": AMOUNT}
    )
    return StepFigure(step=step, figure=means["perplexity"])
