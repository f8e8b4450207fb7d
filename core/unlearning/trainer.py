"""The training loop of all methods."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.layers import compile_layers, recompute_activations
from core.lm.model import context_length
from core.lm.precision import training_precision
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.residual_stream import layer_count
from core.lm.snapshots import Snapshots
from core.schema.events import ChildEvent, CurvePoint, ProgressMade, Resumed
from core.schema.training import Training
from core.unlearning.accumulation import Accumulator, GradientAccumulator
from core.unlearning.forget_gradient import ForgetGradient
from core.unlearning.method import Method
from core.unlearning.objective import StepValues
from core.unlearning.objectives import resolve
from core.unlearning.optimizer import make_optimizer, require_optimizer
from core.unlearning.parameter_selection import select_parameters
from core.unlearning.record_sampling import forget_steps
from core.unlearning.schedule import rate_factor, stable_steps, steps_per_epoch
from core.unlearning.snapshot_policy import SnapshotPolicy
from core.unlearning.step_plan import TrainingSets, plan_steps
from core.unlearning.training_conflicts import find_defence_conflict, find_projection_conflict
from core.unlearning.training_state import TrainingState
from core.unlearning.tuner import Tuner
from core.unlearning.updater import NonFiniteLoss, Updater
from core.unlearning.weight_diff import WeightDiff


class JobCancelled(Exception):
    """The job was told to cancel, and stopped between two updates."""


class JobPaused(Exception):
    """The job was told to pause, and stopped between two updates; `step` is the newest snapshot's, 0 without one."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


class NothingToForget(Exception):
    """The model treats each forget record like text that it never saw: there is nothing to train."""


@dataclass(frozen=True)
class TrainingResult:
    """Updates made, tokens that went through the model for them, and the share of weights that changed.

    Trial updates and readings of a tuned training are not among them.
    """

    steps: int
    tokens: int
    changed_share: float


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    method: str,
    parameters: dict[str, Any],
    training: Training,
    sets: TrainingSets,
    *,
    report: Callable[[ChildEvent], None],
    should_stop: Callable[[], bool],
    should_pause: Callable[[], bool] = lambda: False,
    snapshots: Snapshots | None = None,
    ranks: Ranks = SINGLE_RANK,
    leave_unknown: bool = False,
) -> TrainingResult:
    """Unlearns `sets.forget` from `model`, in place.

    Reports progress and a curve point after every update. The same seed and thread count give the same weights, on the
    CPU bit for bit, also after resuming from the newest of `snapshots`.

    Where several `ranks` share the model, all call this with the same arguments; only the first rank's `should_stop`,
    `should_pause` and `report` count. Either all have `snapshots` or none has. All get the same result, and each keeps
    its part of the model, which `core.lm.sharding.gather_model` makes whole.

    Raises NothingToForget where `leave_unknown` (the first rank's counts), `training.tune` is `auto` and each forget
    record is as unlikely to the model as the unseen record of its rank. Raises, between two updates, JobCancelled
    (`should_stop`), or JobPaused (`should_pause`) once a snapshot is taken; and CoreError `empty_forget_set`,
    `empty_retain_set`, `empty_unseen_set`, `no_scored_tokens`, `nan_loss`, `no_better_state`, `nothing_moved`,
    `out_of_memory`, and those of `select_parameters`, `require_optimizer`, `compile_layers` and
    `recompute_activations`.
    """
    unlearning_method = resolve(method, parameters)
    problem = find_defence_conflict(
        training.relearning_defence,
        type(unlearning_method),
        master_weights=training.master_weights,
        gpus=ranks.count,
    ) or find_projection_conflict(training.conflicting_gradients, unlearning_method, gpus=ranks.count)
    if problem is not None:
        raise CoreError("two_choices", problem)
    if not sets.forget:
        raise CoreError("empty_forget_set", "the forget set holds no record")
    torch.manual_seed(training.seed)
    # no dropout: the trained model is then the measured one, and KL compares like with like
    model.eval()
    select_parameters(model, training, unlearning_method.trained_weights(layer_count(model)))
    require_optimizer(training, model.device)
    longest = context_length(model, training.max_length)
    forward = Forward(
        model,
        autocast=training_precision(training.precision, model.dtype, model.device),
        ranks=ranks,
        longest=longest if ranks.count > 1 else None,
        row=max(longest, training.micro_batch_tokens) if ranks.count > 1 else None,
    )
    if training.compile:
        compile_layers(model)

    def interrupted() -> bool:
        return should_stop() or should_pause()

    plan = plan_steps(unlearning_method, forward, tokenizer, training, sets, report=report, should_stop=interrupted)
    if plan.monitor is not None and ranks.broadcast_flag(leave_unknown) and plan.monitor.knows_nothing():
        raise NothingToForget
    # after planning, which may generate text: layers that recompute their activations keep no cache
    if training.checkpointing:
        recompute_activations(model)
    # after planning, for which each rank runs a whole model of its own
    forward.shard()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    rewrites_weights = type(unlearning_method).final_weight is not Method.final_weight
    diff = WeightDiff(model, ranks, keep_all=rewrites_weights)
    steps = training.epochs * steps_per_epoch(len(sets.forget), training.records_per_step)
    order = list(forget_steps(len(sets.forget), training.records_per_step, training.epochs, training.seed))
    accumulator: Accumulator = GradientAccumulator(training.micro_batch_tokens, report)
    if training.relearning_defence != "none" or training.conflicting_gradients == "project":
        accumulator = ForgetGradient(accumulator, plan, model, training, steps)

    def new_updater(optimizer: Optimizer) -> Updater:
        return Updater(
            forward, plan, optimizer, trained, accumulator=accumulator, clip=training.gradient_clip, steps=steps
        )

    optimizer = make_optimizer(trained, training)
    updater = new_updater(optimizer)
    tuner = None
    if plan.monitor is not None:
        stable = stable_steps(steps, training.scheduler, training.warmup)
        tuner = Tuner(plan.monitor, trained, steps, stable=stable)
    state = TrainingState(model, optimizer, plan, tuner)
    snapshot_policy = SnapshotPolicy(snapshots, state, training.snapshot_every, ranks)

    def stop_if_told() -> None:
        if ranks.broadcast_flag(should_stop()):
            raise JobCancelled
        if ranks.broadcast_flag(should_pause()):
            raise JobPaused(snapshot_policy.snapshot())

    # after planning, which reads the reference model: a snapshot replaces its weights
    if resumed := snapshot_policy.resume():
        report(Resumed(step=resumed))
    elif tuner is not None:
        plan_state = plan.state()
        trial_updater = new_updater(make_optimizer(trained, training))

        def make_trial_update(trial: int, rate: float) -> None:
            stop_if_told()
            epoch, records = order[trial % steps]
            trial_updater.update(trial % steps, epoch, records, rate)

        tuner.find_learning_rate(make_trial_update, training.learning_rate, report)
        plan.restore(plan_state)
        del trial_updater
    if plan.attacker is not None and tuner is not None:
        plan.attacker.learning_rate = tuner.range_test_rate
    began = time.monotonic()
    for step, (epoch, records) in enumerate(order):
        if step < resumed:
            continue
        skipped = 0 if tuner is None else tuner.skipped
        if tuner is not None and (tuner.stop_reason is not None or step + skipped >= steps):
            break
        stop_if_told()
        step_began = time.monotonic()
        highest_rate = training.learning_rate if tuner is None else tuner.learning_rate
        rate = highest_rate * rate_factor(step + skipped, steps, training.scheduler, training.warmup)
        if tuner is not None:
            plan.forget_factor = tuner.forget_factor
        try:
            values = updater.update(step, epoch, records, rate)
        except NonFiniteLoss as error:
            if tuner is not None:
                tuner.diverge()
                break
            raise CoreError(
                "nan_loss",
                f"the loss or its gradient was no finite number at step {step + 1} of {steps}: lower the learning rate"
                f" (it is {training.learning_rate:g}), the epochs or the forget weight",
            ) from error
        plan.observe(step, steps, values)
        state.advance(values.tokens)
        if tuner is not None:
            tuner.check(state.step)
        seconds = (time.monotonic() - began) / (state.step - resumed)
        last = steps - (0 if tuner is None else tuner.skipped)
        report(ProgressMade(step=state.step, steps=last, eta_seconds=seconds * (last - state.step)))
        report(_curve_point(state.step, values, rate, time.monotonic() - step_began))
        snapshot_policy.snapshot_if_due()
    stop_if_told()
    if tuner is not None:
        tuner.finish(state.step, report)
        if tuner.best_step == 0:
            raise CoreError(
                "no_better_state",
                "no state of the training was closer to a model that never saw the forget set than the model as it"
                f" came: choose another method than {method}, or set training.tune to off",
            )
    if rewrites_weights:
        diff.rewrite(model, unlearning_method.final_weight)
    changed = diff.changed_share(model)
    if changed == 0:
        raise CoreError(
            "nothing_moved",
            "no weight of the checkpoint would differ from the original's: raise the learning rate or the weights of"
            " the terms, or keep the model in float32",
        )
    return TrainingResult(steps=state.step, tokens=state.tokens, changed_share=changed)


def _curve_point(step: int, values: StepValues, rate: float, seconds: float) -> CurvePoint:
    terms = {f"{name}_loss": value for name, value in values.terms.items()}
    tokens_per_second = values.tokens / max(seconds, 1e-9)
    return CurvePoint(
        step=step,
        values={"loss": values.loss, **terms, "learning_rate": rate, "tokens_per_second": tokens_per_second},
    )
