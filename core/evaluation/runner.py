"""One model, measured by every measurement that was chosen."""

import time
from collections.abc import Callable, Sequence

from core.evaluation.eval_context import EvalContext
from core.evaluation.measurement import Measurement
from core.schema.evaluation import MeasurementResult, Measurements, SetName
from core.schema.policies import FORGET_SETS
from core.schema.record import Record

_QUESTIONS: frozenset[SetName] = frozenset({"probes", "protected"})


def measure(
    context: EvalContext,
    measurements: Sequence[Measurement],
    *,
    model_digest: str,
    retrained_digest: str | None = None,
    original: Measurements | None = None,
    before_each: Callable[[Measurement], None] = lambda measurement: None,
) -> Measurements:
    """Every figure of the context's sets. What lacks a set that it needs is left out, with a warning; but a group's
    questions that nobody has written are not missed.

    What was found of this model and these sets before comes from the context's cache, unless it is of the forget set or
    its probes; the digests of the models that it is compared with are part of what it goes by. `original` are the
    figures of the model that the job started from, where this one was made of another. `before_each` is called before
    a measurement is made, and may raise to end it. Raises CoreError.
    """
    began = time.monotonic()
    sizes = {name: len(records) for name, records in context.sets.items()}
    whole = Measurements(records=sizes, seconds=0.0, model_digest=model_digest)
    whole.warnings += [f"{name}: there is no record to measure on" for name in context.empty_sets]
    left_out: dict[str, list[str]] = {}
    for one in measurements:
        if context.moment not in one.moments:
            continue
        if missing := one.needs - set(context.sets):
            if one.chosen_by_name or not missing <= _QUESTIONS:
                left_out.setdefault(" and ".join(sorted(missing)), []).append(one.name)
            continue
        before_each(one)
        started = time.monotonic()
        compared = [retrained_digest, None if original is None else original.model_digest]
        key = [one.name, one.model_dump(mode="json"), *compared, context.moment, one.cache_key_parts(context)]
        sets = _read(one, context)
        cache = context.cache if not FORGET_SETS & set(sets) else None
        found = cache.result(key, sets, context.training) if cache else None
        if found is None:
            found = one.measure(context)
            if one.changes_weights:
                context.unload_model()
            if cache and not any(cut.reason == "seconds" for cut in found.cut_short):
                cache.keep_result(key, sets, context.training, found)
        _add(whole, found)
        if original is not None:
            _add(whole, one.compare_with_original(original, found))
        whole.seconds_of[one.name] = round(time.monotonic() - started, 3)
    whole.warnings += [
        f"{', '.join(names)}: not measured without records of {sets}" for sets, names in left_out.items()
    ]
    whole.seconds = time.monotonic() - began
    return whole


def _read(measurement: Measurement, context: EvalContext) -> dict[str, list[Record]]:
    """The records that decide what the measurement finds."""
    sets: dict[str, list[Record]] = {str(name): records for name, records in context.sets.items()}
    return sets if measurement.reads is None else {name: sets[name] for name in measurement.reads if name in sets}


def _add(whole: MeasurementResult, found: MeasurementResult) -> None:
    for name, figures in found.sets.items():
        whole.sets.setdefault(name, {}).update(figures)
    for variant, sets in found.variants.items():
        for name, figures in sets.items():
            whole.variants.setdefault(variant, {}).setdefault(name, {}).update(figures)
    whole.attacks.update(found.attacks)
    whole.across.update(found.across)
    whole.notes.update(found.notes)
    whole.curves.update(found.curves)
    whole.benchmarks.update(found.benchmarks)
    whole.cut_short += found.cut_short
    whole.warnings += found.warnings
