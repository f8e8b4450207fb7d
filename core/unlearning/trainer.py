"""The training loop: one for all methods, to be read from top to bottom."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.model import context_length
from core.lm.precision import training_precision
from core.schema.events import ChildEvent, CurvePoint, ProgressMade, Warned
from core.schema.files import Record
from core.schema.spec import RecordSet
from core.schema.training import Training
from core.unlearning.changes import Weights
from core.unlearning.corpus import Corpus
from core.unlearning.method import Hold, Method
from core.unlearning.objective import Part, StepValues, accumulate_gradient
from core.unlearning.objectives import resolve
from core.unlearning.rehearsal import rehearse
from core.unlearning.retain import descent, kl
from core.unlearning.sampling import Cycle, forget_steps, steps_per_epoch
from core.unlearning.schedule import rate_factor
from core.unlearning.stage import Stage


class Stopped(Exception):
    """The job was told to stop, and did, between two steps."""


@dataclass
class Sets:
    """The parts that train or calibrate; what only measures never comes here."""

    forget: list[Record]
    retain: list[RecordSet] = field(default_factory=list)
    unseen: list[Record] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingResult:
    """Updates made, tokens put through the model for them, and the share of weights that now differ."""

    steps: int
    tokens: int
    changed_share: float


@dataclass
class _Held:
    part: Part
    cycle: Cycle
    ratio: float


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    method: str,
    parameters: dict[str, Any],
    training: Training,
    sets: Sets,
    *,
    report: Callable[[ChildEvent], None],
    should_stop: Callable[[], bool],
) -> TrainingResult:
    """Unlearns `sets.forget` from `model`, in place.

    Reports progress and curves after every update. Same seed, same thread count: same weights, bit for bit on the CPU.
    Raises Stopped, between two updates, and CoreError `empty_forget_set`, `empty_retain_set`, `empty_unseen_set`,
    `no_scored_tokens`, `nan_loss`, `nothing_moved`.
    """
    chosen = resolve(method, parameters)
    if not sets.forget:
        raise CoreError("empty_forget_set", "the forget set holds no record")
    torch.manual_seed(training.seed)
    # Without dropout: what is trained is then what is measured, and KL compares like with like.
    model.eval()
    before = Weights(model)
    accelerator = Accelerator(cpu=model.device.type == "cpu")
    optimizer = accelerator.prepare(_optimizer(model, training))
    forward = Forward(model, autocast=training_precision(training.precision, model.device))
    forget, held = _parts(chosen, forward, tokenizer, training, sets, report, should_stop)

    steps = training.epochs * steps_per_epoch(len(sets.forget), training.records_per_step)
    tokens = 0
    began = time.monotonic()
    plan = forget_steps(len(sets.forget), training.records_per_step, training.epochs, training.seed)
    for step, (epoch, records) in enumerate(plan):
        if should_stop():
            raise Stopped
        began_step = time.monotonic()
        rate = training.learning_rate * rate_factor(step, steps, training.scheduler, training.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        draws = [(forget, records)]
        draws += [(one.part, one.cycle.draw(max(1, round(one.ratio * len(records))))) for one in held]
        values = accumulate_gradient(
            forward, draws, epoch=epoch, max_tokens=training.micro_batch_tokens, backward=accelerator.backward
        )
        norm = accelerator.clip_grad_norm_(model.parameters(), training.gradient_clip)
        if not math.isfinite(values.loss) or not torch.isfinite(norm):
            raise CoreError(
                "nan_loss",
                f"the loss or its gradient was no finite number at step {step + 1} of {steps}: lower the learning rate"
                f" (it is {training.learning_rate:g}), the epochs or the forget weight",
            )
        optimizer.step()
        optimizer.zero_grad()
        tokens += values.tokens
        elapsed = time.monotonic() - began
        report(ProgressMade(step=step + 1, steps=steps, eta_seconds=elapsed / (step + 1) * (steps - step - 1)))
        report(_curve(step + 1, values, rate, time.monotonic() - began_step))
    changed = before.changed_share(model)
    if changed == 0:
        raise CoreError(
            "nothing_moved",
            "no weight of the checkpoint would differ from the original's: raise the learning rate or the weights of"
            " the terms, or keep the model in float32",
        )
    return TrainingResult(steps=steps, tokens=tokens, changed_share=changed)


def _optimizer(model: PreTrainedModel, training: Training) -> torch.optim.Optimizer:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if training.optimizer == "sgd":
        return torch.optim.SGD(trained, lr=training.learning_rate, weight_decay=training.weight_decay)
    return torch.optim.AdamW(trained, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)


def _parts(
    method: Method,
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    training: Training,
    sets: Sets,
    report: Callable[[ChildEvent], None],
    should_stop: Callable[[], bool],
) -> tuple[Part, list[_Held]]:
    """The forget part, and the sets that are held, each with whatever the original model is asked for."""

    def corpus(records: list[Record]) -> Corpus:
        length = context_length(forward.model, training.max_length)
        return Corpus.of(records, tokenizer, max_length=length, chat=training.chat, device=forward.device)

    forget = corpus(sets.forget)
    unseen = corpus(sets.unseen) if sets.unseen and "unseen" in method.needs() else None
    stage = Stage(forward, tokenizer, forget, unseen, training.seed, training.micro_batch_tokens)
    part = Part("forget", forget, method.forget_term(stage), method.forget_weight, whole_records=method.whole_records)

    held: list[_Held] = []

    def hold(name: str, records: Corpus, how: Hold, share: float) -> None:
        term = kl(stage.reference(records)) if how.term == "kl" else descent
        cycle = Cycle(len(records), training.seed, len(held))
        held.append(_Held(Part(name, records, term, how.weight, share), cycle, how.ratio * share))

    retain = method.hold_retain()
    if retain.term != "none":
        retained = [one for one in sets.retain if one.records]
        if not retained:
            raise CoreError("empty_retain_set", f"the method {method.name} needs retain records, and there are none")
        weights = sum(one.weight for one in retained)
        for one in retained:
            hold("retain", corpus(one.records), retain, one.weight / weights)
        if (have := sum(len(one.records) for one in retained)) < len(sets.forget):
            report(
                Warned(
                    code="retain_smaller_than_forget",
                    message=f"{have} retain records train against {len(sets.forget)} to forget: they are used again,"
                    " reshuffled, and may be learnt by heart",
                )
            )
    also = method.hold_unseen()
    if also is not None:
        hold("unseen", stage.unseen, also, 1.0)
    rehearsal = method.hold_rehearsal()
    if rehearsal is not None:
        used = math.ceil(rehearsal.ratio * len(forget) * training.epochs)
        samples = rehearse(
            forward,
            tokenizer,
            texts=min(rehearsal.texts, used),
            temperature=rehearsal.temperature,
            seed=training.seed,
            forget=forget.chunks,
            others=[chunk for one in held for chunk in one.part.corpus.chunks],
            max_tokens=training.micro_batch_tokens,
            should_stop=should_stop,
        )
        if samples:
            hold("rehearsal", Corpus(samples, forward.device), rehearsal, 1.0)
        else:
            report(
                Warned(
                    code="no_rehearsal",
                    message="the model writes no text of its own that is not to be forgotten: what it knows beyond"
                    " the retain set is less well kept",
                )
            )
    return part, held


def _curve(step: int, values: StepValues, rate: float, seconds: float) -> CurvePoint:
    parts = {f"{name}_loss": value for name, value in values.parts.items()}
    speed = values.tokens / max(seconds, 1e-9)
    return CurvePoint(
        step=step, values={"loss": values.loss, **parts, "learning_rate": rate, "tokens_per_second": speed}
    )
