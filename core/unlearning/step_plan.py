"""What a job trains on: the forget part, the sets that are held, and what the original says of each."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.forward import Forward
from core.lm.model import context_length
from core.schema.events import ChildEvent, Warned
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.schema.training import Training
from core.unlearning.answer_generation import generate_answers
from core.unlearning.method import Method, MovingTargets, RetainSpec, RetainWeightController
from core.unlearning.method_context import MethodContext
from core.unlearning.objective import StepValues, Term, TermBatch, WeightedTerm
from core.unlearning.record_sampling import Cycle
from core.unlearning.rehearsal import rehearse
from core.unlearning.retain_losses import descent, hidden, kl
from core.unlearning.tokenized_set import TokenizedSet


@dataclass
class TrainingSets:
    """The parts that train or calibrate; what only measures never comes here."""

    forget: list[Record]
    retain: list[RecordSet] = field(default_factory=list)
    unseen: list[Record] = field(default_factory=list)


@dataclass
class SampledTerm:
    """A set that is held: its part, which of its records come next, and how many of them per forget record."""

    part: WeightedTerm
    cycle: Cycle
    ratio: float


@dataclass
class StepPlan:
    """The parts of every step. `controller` sets the weight of the parts named retain."""

    forget: WeightedTerm
    held: list[SampledTerm]
    controller: RetainWeightController | None

    def term_batches(self, step: int, steps: int, records: list[int]) -> list[TermBatch]:
        """What the step of these forget records is made of."""
        draws: list[TermBatch] = [(self.forget, records)]
        factor = self.controller.weight(step, steps) if self.controller else 1.0
        for one in self.held:
            part = replace(one.part, weight=one.part.weight * factor) if one.part.watched else one.part
            draws.append((part, one.cycle.draw(max(1, round(one.ratio * len(records))))))
        return draws

    def follow(self, records: list[int]) -> None:
        """Lets the forget term look at the model before the update of these forget records."""
        if isinstance(self.forget.term, MovingTargets):
            self.forget.term.follow(records)

    def observe(self, step: int, steps: int, values: StepValues) -> None:
        """Takes note of what a step came to."""
        if self.controller:
            self.controller.observe(step, steps, values.parts)

    def state(self) -> dict[str, Any]:
        """What `restore` needs for the same draws and weights to follow; JSON."""
        controller = self.controller.state() if self.controller else None
        return {"cycles": [one.cycle.state() for one in self.held], "controller": controller}

    def restore(self, state: dict[str, Any]) -> None:
        for one, cycle in zip(self.held, state["cycles"], strict=True):
            one.cycle.restore(cycle)
        if self.controller:
            self.controller.restore(state["controller"])


def plan_steps(
    method: Method,
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    training: Training,
    sets: TrainingSets,
    *,
    report: Callable[[ChildEvent], None],
    should_stop: Callable[[], bool],
) -> StepPlan:
    """Tokenizes the sets and asks the original, which `forward` still is, for whatever the method needs of it.

    Raises CoreError `empty_retain_set`, `empty_unseen_set`, `no_scored_tokens`, and what the method itself raises.
    """

    def corpus(records: list[Record], *, pairs: bool = False) -> TokenizedSet:
        length = context_length(forward.model, training.max_length)
        return TokenizedSet.of(
            records, tokenizer, max_length=length, chat=training.chat, device=forward.device, pairs=pairs
        )

    def answers(records: list[Record]) -> list[str]:
        return generate_answers(forward, tokenizer, records, chat=training.chat, seed=training.seed)

    rewritten = method.rewrite(sets.forget, answers, training.seed)
    forget = corpus(rewritten, pairs=method.pairs)
    unseen = corpus(sets.unseen) if sets.unseen and "unseen" in method.needs() else None
    context = MethodContext(forward, tokenizer, forget, unseen, training.seed, training.micro_batch_tokens)
    layer = method.layer(context.layers)

    held: list[SampledTerm] = []

    def hold(name: str, records: TokenizedSet, how: RetainSpec, share: float, *, watched: bool = False) -> None:
        part = WeightedTerm(name, records, _held_term(how, records, context, layer), how.weight, share, watched=watched)
        if how.term == "hidden":
            part = replace(part, layer=layer)
        held.append(SampledTerm(part, Cycle(len(records), training.seed, len(held)), how.ratio * share))

    retain, controller = method.retain_spec(), None
    if retain.term != "none":
        corpora = [(corpus(one.records), share) for one, share in _shares(method, sets.retain)]
        controller = method.controller(context, corpora)
        for records, share in corpora:
            hold("retain", records, retain, share, watched=controller is not None)
        if (have := sum(len(records) for records, _ in corpora)) < len(forget):
            report(
                Warned(
                    code="retain_smaller_than_forget",
                    message=f"{have} retain records train against {len(forget)} to forget: they are used again,"
                    " reshuffled, and may be learnt by heart",
                )
            )
    also = method.unseen_spec()
    if also is not None:
        hold("unseen", context.unseen_parts[0] if method.follows() else context.unseen, also, 1.0)
    rehearsal = method.rehearsal_spec()
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
            hold("rehearsal", TokenizedSet(samples, forward.device), rehearsal, 1.0)
        else:
            report(
                Warned(
                    code="no_rehearsal",
                    message="the model writes no text of its own that is not to be forgotten: what it knows beyond"
                    " the retain set is less well kept",
                )
            )
    part = WeightedTerm(
        "forget",
        forget,
        method.forget_term(context),
        method.forget_weight,
        whole_records=method.whole_records,
        layer=layer,
    )
    return StepPlan(part, held, controller)


def _held_term(how: RetainSpec, records: TokenizedSet, context: MethodContext, layer: int | None) -> Term:
    if how.term == "hidden":
        if layer is None:
            raise ValueError("hidden states are held in the layer that the method works in")
        return hidden(context.states(records, layer))
    return kl(context.reference(records)) if how.term == "kl" else descent


def _shares(method: Method, sets: list[RecordSet]) -> list[tuple[RecordSet, float]]:
    """The retain sets that hold records, and each one's share of the retain term."""
    retained = [one for one in sets if one.records]
    if not retained:
        raise CoreError("empty_retain_set", f"the method {method.name} needs retain records, and there are none")
    weights = sum(one.weight for one in retained)
    return [(one, one.weight / weights) for one in retained]
