"""Relearning attacks: how soon forgotten text comes back when the model is trained on a little text."""

import math
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator

from core.evaluation.attacks.relearning_attacks import (
    RELEARNING_ATTACKS,
    RelearningAttack,
    default_learning_rate,
)
from core.evaluation.budget import Budget
from core.evaluation.measurement import Budgeted, Group, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Measurements, SetName, StepFigure
from core.schema.figure_names import (
    RELEARNED_SYMMETRIC,
    RELEARNED_WORST,
    RELEARNING_ATTACK_NAMES,
    RELEARNING_CURVES,
    RelearningAttackName,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.evaluation.eval_context import Columns, EvalContext
    from core.evaluation.stats.bootstrap import Values
    from core.schema.record import Record

_TEXT_SETS: dict[str, tuple[SetName, ...]] = {"retain": ("retain",), "unrelated": ("general", "unseen", "retain")}
"""The sets that an attack's text may come from, the first one that the job has. Of unrelated text retain comes last:
the model knows it, so that training on it changes little."""
CURVE_OF: dict[RelearningAttackName, str] = {attack: f"relearned_{attack}" for attack in RELEARNING_ATTACK_NAMES}
FORGET, UNSEEN = CURVE_OF["forget"], "relearned_unseen"
SYMMETRIC = dict(zip(CURVE_OF.values(), RELEARNED_SYMMETRIC, strict=True))
HALF = "relearned_half_steps"
GROUP_SIZE = 128
"""Neighbouring weights of a row that share a scale in INT4, as in `quantized`."""
_FAILURES = {
    "not_finite": "the learning rate is too high",
    "no_such_modules": "the model takes no adapter",
    "unsupported_modules": "the model takes no adapter",
}
THOROUGH_STEPS, THOROUGH_SECONDS = 50, 1800.0


class Relearned(Budgeted):
    name: ClassVar[str] = "relearned"
    summary: ClassVar[str] = (
        "Trains copies of the model further, each by another attack, and measures how soon forgotten text comes back."
        " No method trains against any of these attacks as it is. `relearned_<attack>`: the perplexity of forget"
        " records that no attack trains on, as a curve along the steps. The attacks: `forget` fine-tunes on a few other"
        " forget records, by AdamW on all weights, or from a billion weights on by an adapter of rank 8; `shown_1` and"
        " `shown_100` on so many; `rate_1e-5` and `rate_3e-4` at these learning rates of AdamW; `sgd` by plain gradient"
        " descent; `lora` by an adapter of rank 8; `int4` starts from the copy in 4 bits; `reworded` trains on the few"
        " records with their sentences in another order, `retain` on 50 retain records, `unrelated` on general records"
        " (else unseen, else retain ones). Retain and unrelated records come from the measuring half."
        " `relearned_unseen`: unseen records in the copy of `forget`, since a model that never knew such text learns it"
        " too. `relearned_half_steps`: the number of steps until half of the loss that unlearning added is gone in"
        " `forget`. `relearned_worst`: the lowest perplexity of all attacks and steps, with the name of its attack. For"
        " the model that a job starts from, only the first point is measured. Where the job names a retrained model,"
        " each attack is compared with the same attack on that model: `relearned_worst_ratio` is the lowest ratio of"
        " the two perplexities after any step, with the name of its attack, and `relearned_symmetric` (of `forget`) and"
        " `relearned_<attack>_symmetric` are 1 - |Δ - Δ_retrained| / (|Δ| + |Δ_retrained|), where Δ is how far the"
        " mean loss falls until the last step. 1: both models relearn alike. `standard` makes the attack `forget` only,"
        f" `thorough` all of them, with {THOROUGH_STEPS} steps each."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        curves=RELEARNING_CURVES, across=(HALF, *RELEARNED_WORST, *RELEARNED_SYMMETRIC)
    )
    source: ClassVar[Source] = Source(
        title="Lynch et al. 2024, Eight Methods to Evaluate Robust Unlearning in LLMs; Hu et al. 2024, Jogging the"
        " Memory of Unlearned Models Through Targeted Relearning Attacks",
        url="https://arxiv.org/abs/2406.13356",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget"})
    is_attack: ClassVar[bool] = True
    changes_weights: ClassVar[bool] = True
    order: ClassVar[int] = 10
    smaller_shows_more: ClassVar[frozenset[str]] = frozenset({"every"})

    seconds: float = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="time limit: after it the measurement stops and says so in `cut_short`",
    )
    attacks: tuple[RelearningAttackName, ...] = Field(
        default=("forget",), min_length=1, description="the attacks, in the order in which they are made"
    )
    records: int | None = Field(default=200, ge=1, description="at most this many records are measured; null: all")
    shown: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="forget records to fine-tune on, where the attack has no number of its own; at most a third of all",
    )
    steps: int = Field(default=10, ge=1, le=10_000, description="steps, each on all of these records")
    every: int = Field(default=10, ge=1, le=10_000, description="steps between two points of a curve")
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="constant learning rate, where the attack has none of its own; null: 1e-4 for AdamW, 1e-3 for an"
        " adapter and 0.05 for plain gradient descent; for a billion weights or more a fifth of it",
    )

    @field_validator("attacks")
    @classmethod
    def _each_attack_once(cls, attacks: tuple[RelearningAttackName, ...]) -> tuple[RelearningAttackName, ...]:
        if len(set(attacks)) < len(attacks):
            raise ValueError("an attack is named twice")
        return attacks

    @classmethod
    def for_group(cls, group: Group) -> Self:
        if group == "standard":
            return cls()
        return cls(attacks=RELEARNING_ATTACK_NAMES, steps=THOROUGH_STEPS, seconds=THOROUGH_SECONDS)

    def trains_all_weights(self, weights: int) -> bool:
        """Whether an attack trains all weights of a model of so many."""
        return any(RELEARNING_ATTACKS[attack].optimizer_for(weights) != "lora" for attack in self.attacks)

    def tuned_records(self, forget: int) -> int:
        """Records that pass forward and backward in all steps of all attacks, for a forget set of so many records."""
        counts = (min(self._shown_count(attack), forget // 3) or self._count(attack) for attack in self.attacks)
        return self.steps * sum(counts)

    def points(self) -> int:
        """Points of all attacks' curves, without the first points."""
        return len(self.attacks) * math.ceil(self.steps / self.every)

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.record_scores import record_scores

        budget, result = self.budget(context), MeasurementResult()
        # records that any attack trains on must not be measured
        pool = self._shown_indices(context, max([self.shown, *map(self._shown_count, self.attacks)]))
        measured: dict[SetName, list[int]] = {
            "forget": self._measured_forget(context, pool, budget),
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
        for number, name in enumerate(self.attacks):
            records = self._training_records(context, name, result)
            if not records:
                continue
            if number and budget.expired():
                budget.note_left_out(CURVE_OF[name], done=0, of=self.steps, reason="seconds")
                continue
            sets: dict[SetName, str] = {"forget": CURVE_OF[name]}
            if name == "forget":
                sets["unseen"] = UNSEEN
            self._attack(context, RELEARNING_ATTACKS[name], records, measured, sets, start, budget, result)
        self._compare(context, result)
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

    def _count(self, attack: RelearningAttackName) -> int:
        """Records that the attack asks for."""
        return RELEARNING_ATTACKS[attack].shown or self.shown

    def _shown_count(self, attack: RelearningAttackName) -> int:
        """Records of the forget set that the attack asks for."""
        return self._count(attack) if RELEARNING_ATTACKS[attack].text in ("forget", "reworded") else 0

    def _shown_indices(self, context: "EvalContext", count: int) -> list[int]:
        """Indices of forget records to train on: those for a smaller count are among those for a larger one."""
        return context.subset_indices("forget", min(count, len(context.sets["forget"]) // 3))

    def _measured_forget(self, context: "EvalContext", pool: list[int], budget: Budget) -> list[int]:
        """Indices of the forget records that are measured: none of the records that are trained on."""
        count = len(context.sets["forget"]) - len(pool)
        limit = count if self.records is None else min(self.records, count)
        budget.note_left_out("forget", done=limit, of=count, reason="records")
        return [index for index in context.subset_indices("forget", len(pool) + limit) if index not in set(pool)]

    def _training_records(
        self, context: "EvalContext", name: RelearningAttackName, result: MeasurementResult
    ) -> "Sequence[Record]":
        """The records that the attack trains on; none, with a warning, where there are too few.

        Retain and unrelated records come from the measuring half: the calibrating half must decide no figure.
        """
        from core.evaluation.text.rewording import reworded

        attack = RELEARNING_ATTACKS[name]
        if attack.text in _TEXT_SETS:
            texts = next((context.sets[each] for each in _TEXT_SETS[attack.text] if each in context.sets), [])
            if not texts:
                result.warnings.append(f"relearned: no {CURVE_OF[name]}: there is no {attack.text} text to train on")
            return texts[: self._count(name)]
        shown = [context.sets["forget"][index] for index in self._shown_indices(context, self._shown_count(name))]
        if not shown:
            message = f"relearned: no {CURVE_OF[name]}: under 3 forget records are too few to train on some and measure"
            result.warnings.append(f"{message} others")
        return [reworded(record) for record in shown] if attack.text == "reworded" else shown

    def _attack(
        self,
        context: "EvalContext",
        attack: RelearningAttack,
        records: "Sequence[Record]",
        measured: dict[SetName, list[int]],
        names: dict[SetName, str],
        start: "dict[SetName, Values]",
        budget: Budget,
        result: MeasurementResult,
    ) -> None:
        """Fine-tunes a copy on the records and adds the curve of each measured set, under its name, to the result."""
        from core.lm.errors import out_of_memory

        curves = {name: [_point(context, names[name], 0, losses)] for name, losses in start.items() if name in names}
        forget: Columns = {"0": start["forget"]}  # losses of each record, by step
        try:
            for step in self._steps(context, attack, records):
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
            reason = _failure(error)
            if reason is None and not out_of_memory(error):
                raise
            reason = reason or "training all weights does not fit in memory"
            result.warnings.append(f"relearned: no {' and '.join(names[name] for name in curves)}: {reason}")
            return
        result.curves |= {names[name]: curve for name, curve in curves.items()}
        context.keep_columns(names["forget"], "forget", forget)

    def _compare(self, context: "EvalContext", result: MeasurementResult) -> None:
        """Adds the worst attack to the result, and how the model relearns beside the retrained one."""
        from core.evaluation.scores.relearning import lowest_perplexity, lowest_ratio, relearning_score

        curves = [CURVE_OF[name] for name in self.attacks if CURVE_OF[name] in result.curves]
        own = {curve: context.computed_columns(curve, "forget") or {} for curve in curves}
        found = [lowest_perplexity(own, context.resamples)]
        if context.moment == "after" and context.retrained is not None:
            other = {curve: context.retrained.computed_columns(curve, "forget") or {} for curve in curves}
            found.append(lowest_ratio(own, other, context.resamples))
            for curve in curves:
                score = relearning_score(own[curve], other[curve], context.resamples(curve))
                if score is None:
                    result.warnings.append(f"relearned: no {SYMMETRIC[curve]}: there is no step that both models made")
                else:
                    result.across[SYMMETRIC[curve]], steps = score
                    result.notes[SYMMETRIC[curve]] = f"after {steps} steps"
        for name, worst in zip(RELEARNED_WORST, found, strict=False):
            if worst is not None:
                result.across[name] = worst.figure
                attack = worst.curve.removeprefix("relearned_")
                result.notes[name] = f"attack {attack}, after {worst.step} steps"

    def _steps(self, context: "EvalContext", attack: RelearningAttack, records: "Sequence[Record]") -> "Iterator[int]":
        """Fine-tunes the context's model, loaded again from disk; yields the number of each step, from 1, after it."""
        from core.evaluation.attacks.quantization import int4, round_weights
        from core.evaluation.attacks.relearning import FineTuning
        from core.lm import adapter

        context.unload_model()
        model = context.model
        weights = sum(weight.numel() for weight in model.parameters())
        optimizer = attack.optimizer_for(weights)
        if adapter.has_adapter(model) and (attack.int4 or optimizer == "lora"):
            adapter.merge(model)
        if attack.int4:
            round_weights(model, partial(int4, group=GROUP_SIZE))
        rate = attack.learning_rate or self.learning_rate or default_learning_rate(optimizer, weights)
        chunks = context.encode(records)
        tuning = FineTuning(model, chunks, learning_rate=rate, training=context.training, optimizer=optimizer)
        for step in range(1, self.steps + 1):
            tuning.step()
            yield step


def _failure(error: Exception) -> str | None:
    """The reason that an attack has no curve; None for other errors."""
    from core.lm.errors import CoreError

    return _FAILURES.get(error.code) if isinstance(error, CoreError) else None


def _losses(context: "EvalContext", name: SetName, indices: list[int]) -> "Values":
    from core.evaluation.scores.likelihood import cross_entropies

    records = [context.sets[name][index] for index in indices]
    return cross_entropies(context.statistics(records, label=f"{name}, fine-tuned,"))


def _point(context: "EvalContext", name: str, step: int, losses: "Values") -> StepFigure:
    from core.evaluation.scores.relearning import mean_perplexity

    return StepFigure(step=step, figure=mean_perplexity(losses, context.resamples(name)))
