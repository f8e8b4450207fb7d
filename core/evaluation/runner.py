"""Runs the chosen measurements on one model and collects their figures."""

import time
from collections.abc import Callable, Sequence

from core.evaluation.eval_context import EvalContext
from core.evaluation.measurement import Measurement
from core.schema.evaluation import MeasurementResult, Measurements, SetName
from core.schema.policies import FORGET_SETS
from core.schema.record import Record

_QUESTIONS: frozenset[SetName] = frozenset({"probes", "protected"})


def measure_model(
    context: EvalContext,
    measurements: Sequence[Measurement],
    *,
    model_digest: str,
    retrained_digest: str | None = None,
    original: Measurements | None = None,
    before_each: Callable[[Measurement], None] = lambda measurement: None,
) -> Measurements:
    """Measures the context's model and returns all figures.

    A measurement that lacks a set is left out with a warning; without a warning if it came with a group and lacks only
    probes or protected probes, which a job need not have. Results come from the context's cache where it has them,
    except those of the forget set or its probes; the digests of the models to compare with belong to the cache's key.
    `original` holds the figures of the model that the job started from, if this model was made from another.
    `before_each` is called before each measurement and may raise to stop. Raises CoreError.
    """
    began = time.monotonic()
    sizes = {name: len(records) for name, records in context.sets.items()}
    collected = Measurements(records=sizes, seconds=0.0, model_digest=model_digest)
    collected.warnings += [f"{name}: there is no record to measure on" for name in context.empty_sets]
    left_out: dict[str, list[str]] = {}
    for measurement in measurements:
        if context.moment not in measurement.moments:
            continue
        if missing := measurement.needs - set(context.sets):
            if measurement.chosen_by_name or not missing <= _QUESTIONS:
                left_out.setdefault(" and ".join(sorted(missing)), []).append(measurement.name)
            continue
        before_each(measurement)
        collected.parameters[measurement.name] = measurement.model_dump(mode="json")
        started = time.monotonic()
        result = _measure(context, measurement, retrained_digest, original)
        _add(collected, result)
        if original is not None:
            _add(collected, measurement.compare_with_original(original, result))
        collected.seconds_of[measurement.name] = round(time.monotonic() - started, 3)
    collected.warnings += [
        f"{', '.join(names)}: not measured without records of {sets}" for sets, names in left_out.items()
    ]
    collected.seconds = time.monotonic() - began
    return collected


def _measure(
    context: EvalContext, measurement: Measurement, retrained_digest: str | None, original: Measurements | None
) -> MeasurementResult:
    """The result of one measurement, from the cache if it has it. A result that time cut short is not cached."""
    compared = [retrained_digest, None if original is None else original.model_digest]
    parameters = measurement.model_dump(mode="json")
    key = [measurement.name, parameters, *compared, context.moment, measurement.cache_key_parts(context)]
    sets = _sets_read(measurement, context)
    cache = context.cache if not FORGET_SETS & set(sets) else None
    result = cache.result(key, sets, context.training) if cache else None
    if result is None:
        result = measurement.measure(context)
        if measurement.changes_weights:
            context.unload_model()
        if cache and not any(cut.reason == "seconds" for cut in result.cut_short):
            cache.keep_result(key, sets, context.training, result)
    return result


def _sets_read(measurement: Measurement, context: EvalContext) -> dict[str, list[Record]]:
    """The sets whose records decide the measurement's figures."""
    sets: dict[str, list[Record]] = {str(name): records for name, records in context.sets.items()}
    return sets if measurement.reads is None else {name: sets[name] for name in measurement.reads if name in sets}


def _add(collected: MeasurementResult, result: MeasurementResult) -> None:
    for name, figures in result.sets.items():
        collected.sets.setdefault(name, {}).update(figures)
    for variant, sets in result.variants.items():
        for name, figures in sets.items():
            collected.variants.setdefault(variant, {}).setdefault(name, {}).update(figures)
    collected.attacks.update(result.attacks)
    collected.across.update(result.across)
    collected.notes.update(result.notes)
    collected.curves.update(result.curves)
    collected.benchmarks.update(result.benchmarks)
    collected.previously_forgotten += result.previously_forgotten
    collected.cut_short += result.cut_short
    collected.warnings += result.warnings
