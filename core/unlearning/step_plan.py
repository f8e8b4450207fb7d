"""The terms of every step of a job, and the records that each step takes from each set."""

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
from core.unlearning.forgetting_monitor import ForgettingMonitor
from core.unlearning.held_out import hold_out
from core.unlearning.method import (
    Method,
    MovingTargets,
    RehearsalSpec,
    RetainSpec,
    RetainWeightController,
    SplicedSpec,
)
from core.unlearning.method_context import MethodContext
from core.unlearning.objective import StepValues, Term, TermBatch, WeightedTerm
from core.unlearning.record_sampling import Cycle
from core.unlearning.rehearsal import rehearse
from core.unlearning.rehearsal_cache import RehearsalCache
from core.unlearning.retain_gradient import RetainGradient
from core.unlearning.retain_losses import descent, hidden, kl
from core.unlearning.simulated_attacker import SimulatedAttacker
from core.unlearning.spliced_texts import splice
from core.unlearning.token_runs import chunk_runs
from core.unlearning.tokenized_set import TokenizedSet


@dataclass
class TrainingSets:
    """The records that train or calibrate. Records that only measure are never among them."""

    forget: list[Record]
    retain: list[RecordSet] = field(default_factory=list)
    unseen: list[Record] = field(default_factory=list)
    rehearsal_cache: RehearsalCache | None = None
    """Texts that the reference model wrote for earlier jobs."""


@dataclass
class SampledTerm:
    """A retain term, whose set is sampled without end: `ratio` records per forget record in a step."""

    weighted: WeightedTerm
    cycle: Cycle
    ratio: float


@dataclass
class StepPlan:
    """The forget term and the retain terms (on retain, unseen, rehearsal and spliced sets) of every step.

    `controller` sets the weight of the terms on retain sets; `monitor` reads the model of a tuned training.
    """

    forget: WeightedTerm
    retain_terms: list[SampledTerm]
    controller: RetainWeightController | None
    forget_text: TokenizedSet
    """The forget records as they are, where the forget term trains on others in their place too."""
    monitor: ForgettingMonitor | None = None
    attacker: SimulatedAttacker | None = None
    """The attacker of a training with this defence against relearning."""
    retain_gradient: RetainGradient | None = None
    """The mean of the retain terms' gradient, where forget gradients are projected by it."""
    forget_factor: float = 1.0
    """The factor on the forget term's weight."""

    def term_batches(self, step: int, steps: int, records: list[int]) -> list[TermBatch]:
        """The terms of `step` (from 0, of `steps`), each with its records; `records` are the step's forget records."""
        forget = replace(self.forget, weight=self.forget.weight * self.forget_factor)
        batches: list[TermBatch] = [(forget, records)]
        factor = self.controller.weight(step, steps) if self.controller else 1.0
        for sampled in self.retain_terms:
            weighted = sampled.weighted
            if weighted.controlled:
                weighted = replace(weighted, weight=weighted.weight * factor)
            batches.append((weighted, sampled.cycle.draw(max(1, round(sampled.ratio * len(records))))))
        return batches

    def update_targets(self, records: list[int]) -> None:
        """Lets a forget term with moving targets compute those of the next update's forget records."""
        if isinstance(self.forget.term, MovingTargets):
            self.forget.term.update_targets(records)

    def observe(self, step: int, steps: int, values: StepValues) -> None:
        """Passes the term values of a step to the controller."""
        if self.controller:
            self.controller.observe(step, steps, values.terms)

    def state(self) -> dict[str, Any]:
        """The state from which `restore` continues with the same records and weights; JSON."""
        controller = self.controller.state() if self.controller else None
        attacker = self.attacker.state() if self.attacker else None
        cycles = [sampled.cycle.state() for sampled in self.retain_terms]
        return {"cycles": cycles, "controller": controller, "attacker": attacker}

    def restore(self, state: dict[str, Any]) -> None:
        for sampled, cycle_state in zip(self.retain_terms, state["cycles"], strict=True):
            sampled.cycle.restore(cycle_state)
        if self.controller:
            self.controller.restore(state["controller"])
        if self.attacker:
            self.attacker.restore(state["attacker"])


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
    """Tokenizes the sets and computes what the method needs from the reference model, which `forward` still is.

    Raises CoreError `empty_retain_set`, `empty_unseen_set`, `no_scored_tokens`, and the method's own errors.
    """

    def tokenize(records: list[Record], *, pairs: bool = False) -> TokenizedSet:
        length = context_length(forward.model, training.max_length)
        return TokenizedSet.tokenize(
            records, tokenizer, max_length=length, chat=training.chat, device=forward.device, pairs=pairs
        )

    def generate(records: list[Record]) -> list[str]:
        return generate_answers(forward, tokenizer, records, chat=training.chat, seed=training.seed)

    tuned = training.tune == "auto"
    rewritten = method.rewrite(sets.forget, generate, training.seed)
    forget = tokenize(rewritten, pairs=method.pairs)
    forget_text = forget if rewritten is sets.forget else tokenize(sets.forget)
    unseen = tokenize(sets.unseen) if sets.unseen and (tuned or "unseen" in method.needs()) else None
    context = MethodContext(forward, tokenizer, forget, unseen, training.seed, training.micro_batch_tokens)
    retain, held_out = hold_out(sets.retain, training.seed) if tuned else (sets.retain, [])
    layer = method.layer(context.layers)

    retain_terms: list[SampledTerm] = []

    def add_retain_term(name: str, tokenized: TokenizedSet, spec: RetainSpec, share: float, controlled: bool) -> None:
        weighted = WeightedTerm(
            name,
            tokenized,
            _retain_term(spec, tokenized, context, layer),
            spec.weight,
            share,
            layer=layer if spec.term == "hidden" else None,
            controlled=controlled,
        )
        cycle = Cycle(len(tokenized), training.seed, len(retain_terms))
        retain_terms.append(SampledTerm(weighted, cycle, spec.ratio * share))

    retain_spec, controller = method.retain_spec(), None
    if retain_spec.term != "none":
        retain_sets = [(tokenize(records.records), share) for records, share in _shares(method, retain)]
        controller = method.weight_controller(context, retain_sets)
        for tokenized, share in retain_sets:
            add_retain_term("retain", tokenized, retain_spec, share, controlled=controller is not None)
        _warn_of_small_retain_set(sum(len(tokenized) for tokenized, _ in retain_sets), len(forget), report)
    unseen_spec = method.unseen_spec()
    if unseen_spec is not None:
        add_retain_term("unseen", _kept_unseen(method, context), unseen_spec, 1.0, controlled=False)
    rehearsal_spec, spliced_spec = method.rehearsal_spec(), method.spliced_spec()
    if rehearsal_spec is not None:
        retained = [term.weighted.tokenized for term in retain_terms]
        rehearsed = _rehearsed(rehearsal_spec, context, training, retained, should_stop, sets.rehearsal_cache)
        if rehearsed is not None:
            add_retain_term("rehearsal", rehearsed, rehearsal_spec, 1.0, controlled=False)
            if spliced_spec is not None:
                spliced = _spliced(spliced_spec, method, context, training, retained, rehearsed, should_stop)
                if spliced is not None:
                    add_retain_term("spliced", spliced, spliced_spec, 1.0, controlled=False)
        else:
            report(
                Warned(
                    code="no_rehearsal",
                    message="the model wrote no text of its own other than text to forget: its knowledge beyond the"
                    " retain set is less well protected",
                )
            )
    forget_term = WeightedTerm(
        "forget",
        forget,
        method.forget_term(context),
        method.forget_weight,
        whole_records=method.whole_records,
        row_term=method.forget_row_term(context),
        layer=layer,
    )
    monitor = None
    if tuned and unseen is not None:
        monitor = ForgettingMonitor(
            context,
            forget_text,
            context.unseen_halves[1],
            tokenize(held_out) if held_out else None,
        )
    return StepPlan(forget_term, retain_terms, controller, forget_text, monitor)


def _retain_term(spec: RetainSpec, tokenized: TokenizedSet, context: MethodContext, layer: int | None) -> Term:
    if spec.term == "hidden":
        if layer is None:
            raise ValueError("the retain term `hidden` needs the layer that the method works in")
        return hidden(context.states(tokenized, layer))
    return kl(context.reference(tokenized)) if spec.term == "kl" else descent


def _shares(method: Method, retain: list[RecordSet]) -> list[tuple[RecordSet, float]]:
    """The retain sets that have records, and their shares of the retain term, which sum to 1."""
    nonempty = [records for records in retain if records.records]
    if not nonempty:
        raise CoreError("empty_retain_set", f"the method {method.name} needs retain records, and there are none")
    total = sum(records.weight for records in nonempty)
    return [(records, records.weight / total) for records in nonempty]


def _warn_of_small_retain_set(retain: int, forget: int, report: Callable[[ChildEvent], None]) -> None:
    if retain < forget:
        report(
            Warned(
                code="retain_smaller_than_forget",
                message=f"fewer records to keep were used in training ({retain}) than records to forget ({forget}):"
                " they are used again, reshuffled, and may be learnt by heart",
            )
        )


def _kept_unseen(method: Method, context: MethodContext) -> TokenizedSet:
    """The calibrating unseen records that give no moving targets."""
    return context.unseen_halves[0] if method.moves_targets() else context.unseen


def _spliced(
    spec: SplicedSpec,
    method: Method,
    context: MethodContext,
    training: Training,
    retained: list[TokenizedSet],
    rehearsed: TokenizedSet,
    should_stop: Callable[[], bool],
) -> TokenizedSet | None:
    """Texts spliced of samples and unseen records; None where none can be made."""
    repetitions = chunk_runs(context.forget.chunks) - chunk_runs(chunk for kept in retained for chunk in kept.chunks)
    texts = splice(
        [chunk.ids.tolist() for chunk in rehearsed.chunks],
        [chunk.ids.tolist() for chunk in _kept_unseen(method, context).chunks],
        _needed(spec, context, training),
        repetitions=repetitions,
        seed=training.seed,
        should_stop=should_stop,
    )
    return TokenizedSet(texts, context.forward.device) if texts else None


def _needed(spec: RehearsalSpec | SplicedSpec, context: MethodContext, training: Training) -> int:
    """The texts of a term whose texts are made: at most as many as the job draws."""
    return min(spec.texts, math.ceil(spec.ratio * len(context.forget) * training.epochs))


def _rehearsed(
    spec: RehearsalSpec,
    context: MethodContext,
    training: Training,
    retained: list[TokenizedSet],
    should_stop: Callable[[], bool],
    cache: RehearsalCache | None,
) -> TokenizedSet | None:
    """Samples of the reference model, drawn as often as the job uses one; None where there are none."""
    samples = rehearse(
        context.forward,
        context.tokenizer,
        texts=_needed(spec, context, training),
        temperature=spec.temperature,
        first_temperature=spec.first_temperature,
        seed=training.seed,
        forget=context.forget.chunks,
        unseen=() if context.unseen_set is None else context.unseen_set.chunks,
        retain_chunks=[chunk for tokenized in retained for chunk in tokenized.chunks],
        max_tokens=training.micro_batch_tokens,
        should_stop=should_stop,
        cache=cache,
    )
    return TokenizedSet(samples, context.forward.device) if samples else None
