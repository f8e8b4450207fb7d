"""How soon is it back, once somebody trains on a little of it?"""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.evaluation.budget import Budget
from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Measurements, SetName, StepFigure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.evaluation.eval_context import EvalContext
    from core.evaluation.stats.bootstrap import Values
    from core.schema.record import Record

_UNRELATED: tuple[SetName, ...] = ("general", "unseen", "retain")
"""Retained text last: the model knows it, so that training on it moves little."""
FORGET, UNSEEN, UNRELATED = "relearned_forget", "relearned_unseen", "relearned_unrelated"
HALF = "relearned_half_steps"


class Relearned(Budgeted):
    name: ClassVar[str] = "relearned"
    summary: ClassVar[str] = (
        "Fine-tunes a copy on a few forget records, all weights, and measures the perplexity of the other ones on the"
        " way: the curve `relearned_forget`. Text of that kind is learned, too, by a model that never knew it:"
        " `relearned_unseen` is the perplexity of unseen records in the same copy. `relearned_unrelated` is that of the"
        " same forget records while a second copy is fine-tuned on as many general (else unseen, else retain) records,"
        " which are of the measuring half but not measured in that copy. `relearned_half_steps`: steps until half of"
        " what the unlearning had added to the forget records' mean loss is gone. Of the model that a job starts from"
        " only the first place is measured."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(curves=(FORGET, UNSEEN, UNRELATED), across=(HALF,))
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

    records: int | None = Field(default=200, ge=1, description="at most so many records are measured; null: all")
    shown: int = Field(
        default=10, ge=1, le=10_000, description="forget records to fine-tune on, but at most a third of them"
    )
    steps: int = Field(default=20, ge=1, le=10_000, description="updates, each on all of these")
    every: int = Field(default=5, ge=1, le=10_000, description="updates between two places of a curve")
    learning_rate: float | None = Field(
        default=None, gt=0, le=1, description="constant; null: 1e-4, and 2e-5 from a billion weights on"
    )

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.record_scores import record_scores

        forget, budget, found = context.sets["forget"], self.budget(context), MeasurementResult()
        # what is trained on must not be what is measured
        shown = context.subset_indices("forget", min(self.shown, len(forget) // 3))
        measured: dict[SetName, list[int]] = {
            "forget": self._others(context, shown, budget),
            "unseen": context.subset_indices("unseen", self.records),
        }
        budget.note_left_out(
            "unseen", done=len(measured["unseen"]), of=len(context.sets.get("unseen", [])), reason="records"
        )
        found.cut_short = budget.cut_short
        start = {name: record_scores(context, name)["loss"][places] for name, places in measured.items() if places}
        if context.moment == "before":
            found.curves[FORGET] = [_place(context, FORGET, 0, start["forget"])]
            return found
        if shown:
            curves: dict[SetName, str] = {"forget": FORGET, "unseen": UNSEEN}
            self._tune(context, [forget[place] for place in shown], measured, curves, start, budget, found)
        else:
            found.warnings.append("relearned: under 3 forget records are too few to train on some and measure others")
        if unrelated := self._unrelated(context, len(shown) or self.shown):
            only: dict[SetName, list[int]] = {"forget": measured["forget"]}
            self._tune(context, unrelated, only, {"forget": UNRELATED}, start, budget, found)
        else:
            found.warnings.append("relearned: there is no text beside the forget set to train on")
        return found

    def compare_with_original(self, original: Measurements, found: MeasurementResult) -> MeasurementResult:
        from core.evaluation.attacks.relearning import half_steps

        curve, known = found.curves.get(FORGET, []), original.curves.get(FORGET, [])
        if len(curve) < 2 or not known:
            return MeasurementResult()
        if curve[0].figure.value <= known[0].figure.value:
            return MeasurementResult(
                warnings=["relearned: the forget records' loss has not grown, so that none of it can be back"]
            )
        steps = half_steps(curve, known[0].figure.value)
        if steps is None:
            return MeasurementResult(warnings=[f"relearned: half is not back within {curve[-1].step} steps"])
        figure = Figure(value=steps, low=None, high=None, records=curve[0].figure.records)
        return MeasurementResult(across={HALF: figure})

    def _others(self, context: "EvalContext", shown: list[int], budget: Budget) -> list[int]:
        """The forget records that are measured: none of those that are trained on."""
        count = len(context.sets["forget"]) - len(shown)
        limit = count if self.records is None else min(self.records, count)
        budget.note_left_out("forget", done=limit, of=count, reason="records")
        return [place for place in context.subset_indices("forget", len(shown) + limit) if place not in set(shown)]

    def _unrelated(self, context: "EvalContext", count: int) -> "Sequence[Record]":
        """Of what measures, but nothing in this copy: a figure would stand on the halves that calibrate otherwise."""
        return next((context.sets[name] for name in _UNRELATED if name in context.sets), [])[:count]

    def _tune(
        self,
        context: "EvalContext",
        records: "Sequence[Record]",
        measured: dict[SetName, list[int]],
        names: dict[SetName, str],
        start: "dict[SetName, Values]",
        budget: Budget,
        found: MeasurementResult,
    ) -> None:
        """Adds the curve of each set that is measured while a copy is fine-tuned on the records, by its name."""
        from core.lm.errors import CoreError, out_of_memory

        curves = {name: [_place(context, names[name], 0, losses)] for name, losses in start.items() if name in measured}
        try:
            for step in self._steps(context, records):
                if step % self.every == 0 or step == self.steps:
                    for name in curves:
                        losses = _losses(context, name, measured[name])
                        curves[name].append(_place(context, names[name], step, losses))
                if step < self.steps and budget.expired():
                    for name in curves:
                        budget.note_left_out(names[name], done=curves[name][-1].step, of=self.steps, reason="seconds")
                    break
        except Exception as error:  # that an attack fails is no failure of the job
            diverged = isinstance(error, CoreError) and error.code == "not_finite"
            if not diverged and not out_of_memory(error):
                raise
            reason = "the learning rate is too high" if diverged else "training all weights does not fit in memory"
            found.warnings.append(f"relearned: no {' and '.join(names[name] for name in curves)}: {reason}")
            return
        found.curves |= {names[name]: curve for name, curve in curves.items()}

    def _steps(self, context: "EvalContext", records: "Sequence[Record]") -> "Iterator[int]":
        """Fine-tunes the context's model, as it lies on disk: after each step, its number from 1."""
        from core.evaluation.attacks.relearning import FineTuning, default_learning_rate

        context.unload_model()
        rate = self.learning_rate or default_learning_rate(context.model)
        tuning = FineTuning(context.model, context.encode(records), learning_rate=rate, training=context.training)
        for step in range(1, self.steps + 1):
            tuning.step()
            yield step


def _losses(context: "EvalContext", name: SetName, places: list[int]) -> "Values":
    from core.evaluation.scores.likelihood import cross_entropies

    records = [context.sets[name][place] for place in places]
    return cross_entropies(context.statistics(records, label=f"{name}, fine-tuned,"))


def _place(context: "EvalContext", name: str, step: int, losses: "Values") -> StepFigure:
    import numpy as np

    from core.evaluation.scores.likelihood import perplexity
    from core.evaluation.stats.bootstrap import AMOUNT, weighted_means

    column = {"perplexity": (losses, np.ones(len(losses)))}
    means = weighted_means(
        column, context.resamples(name), through={"perplexity": perplexity}, ranges={"perplexity": AMOUNT}
    )
    return StepFigure(step=step, figure=means["perplexity"])
