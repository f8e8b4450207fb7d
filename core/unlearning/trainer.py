"""The training loop: one for all methods, to be read from top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.layers import compile_layers, recompute_activations
from core.lm.model import context_length
from core.lm.precision import training_precision
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.residual_stream import layer_count
from core.lm.sharding import full_tensor
from core.lm.snapshots import Snapshots
from core.schema.events import ChildEvent, CurvePoint, ProgressMade, Resumed
from core.schema.training import Training
from core.unlearning.accumulation import GradientAccumulator
from core.unlearning.method import Method
from core.unlearning.objective import StepValues
from core.unlearning.objectives import resolve
from core.unlearning.optimizer import make_optimizer, require_optimizer, set_learning_rate
from core.unlearning.parameter_selection import select_parameters
from core.unlearning.record_sampling import forget_steps, steps_per_epoch
from core.unlearning.schedule import rate_factor
from core.unlearning.snapshot_policy import SnapshotPolicy
from core.unlearning.step_plan import TrainingSets, plan_steps
from core.unlearning.training_state import TrainingState
from core.unlearning.weight_diff import WeightDiff


class JobCancelled(Exception):
    """The job was told to stop, and did, between two steps."""


class JobPaused(Exception):
    """The job was told to pause, and did, between two steps; `step` is the newest snapshot's, 0 without one."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step


@dataclass(frozen=True)
class TrainingResult:
    """Updates made, tokens put through the model for them, and the share of weights that now differ."""

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
) -> TrainingResult:
    """Unlearns `sets.forget` from `model`, in place.

    Where several `ranks` share it, all call this with the same, but for what the first alone is told and says; they
    get the same result, and each its part of the model (`core.lm.sharding.gather` makes it whole); they have
    `snapshots` all or none.
    Reports progress and curves after every update. Same seed, same thread count: same weights, bit for bit on the CPU,
    also where the newest of `snapshots` was resumed from. Raises, between two updates, JobCancelled, or JobPaused once
    a snapshot is kept; and CoreError `empty_forget_set`, `empty_retain_set`, `empty_unseen_set`, `no_scored_tokens`,
    `nan_loss`, `nothing_moved`, `out_of_memory`, and those of `select_parameters`, `make_optimizer` and the layers.
    """
    chosen = resolve(method, parameters)
    if not sets.forget:
        raise CoreError("empty_forget_set", "the forget set holds no record")
    torch.manual_seed(training.seed)
    # Without dropout: what is trained is then what is measured, and KL compares like with like.
    model.eval()
    select_parameters(model, training, chosen.trained_weights(layer_count(model)))
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

    def leaving() -> bool:
        return should_stop() or should_pause()

    job = plan_steps(chosen, forward, tokenizer, training, sets, report=report, should_stop=leaving)
    # only now: the plan may have text written by the model, whose layers keep no cache while they recompute
    if training.checkpointing:
        recompute_activations(model)
    # only now: until here each rank has asked its own whole model
    forward.shard()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    finishes = type(chosen).final_weight is not Method.final_weight
    before = WeightDiff(model, ranks, whole=finishes)
    optimizer = make_optimizer(trained, training)

    gradient = GradientAccumulator(training.micro_batch_tokens, report)
    position = TrainingState(model, optimizer, job)
    keeping = SnapshotPolicy(snapshots, position, training.snapshot_every, ranks)

    def heed() -> None:
        if ranks.broadcast_flag(should_stop()):
            raise JobCancelled
        if ranks.broadcast_flag(should_pause()):
            raise JobPaused(keeping.keep())

    # only now: what the plan asks of the original, it must ask before the weights are others
    if resumed := keeping.resume():
        report(Resumed(step=resumed))
    steps = training.epochs * steps_per_epoch(len(sets.forget), training.records_per_step)
    began = time.monotonic()
    order = forget_steps(len(sets.forget), training.records_per_step, training.epochs, training.seed)
    for step, (epoch, records) in enumerate(order):
        if step < resumed:
            continue
        heed()
        began_step = time.monotonic()
        rate = training.learning_rate * rate_factor(step, steps, training.scheduler, training.warmup)
        set_learning_rate(optimizer, rate)
        job.follow(records)
        values = gradient(forward, job.term_batches(step, steps, records), epoch)
        norm = full_tensor(torch.nn.utils.clip_grad_norm_(trained, training.gradient_clip))
        if not math.isfinite(values.loss) or not torch.isfinite(norm):
            raise CoreError(
                "nan_loss",
                f"the loss or its gradient was no finite number at step {step + 1} of {steps}: lower the learning rate"
                f" (it is {training.learning_rate:g}), the epochs or the forget weight",
            )
        optimizer.step()
        optimizer.zero_grad()
        job.observe(step, steps, values)
        position.advance(values.tokens)
        seconds = (time.monotonic() - began) / (position.step - resumed)
        report(ProgressMade(step=position.step, steps=steps, eta_seconds=seconds * (steps - position.step)))
        report(_curve(position.step, values, rate, time.monotonic() - began_step))
        keeping.keep_if_due()
    heed()
    if finishes:
        before.finish(model, chosen.final_weight)
    changed = before.changed_share(model)
    if changed == 0:
        raise CoreError(
            "nothing_moved",
            "no weight of the checkpoint would differ from the original's: raise the learning rate or the weights of"
            " the terms, or keep the model in float32",
        )
    return TrainingResult(steps=steps, tokens=position.tokens, changed_share=changed)


def _curve(step: int, values: StepValues, rate: float, seconds: float) -> CurvePoint:
    parts = {f"{name}_loss": value for name, value in values.parts.items()}
    speed = values.tokens / max(seconds, 1e-9)
    return CurvePoint(
        step=step, values={"loss": values.loss, **parts, "learning_rate": rate, "tokens_per_second": speed}
    )
