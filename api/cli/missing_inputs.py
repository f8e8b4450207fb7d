"""The inputs of a job that a check of its figures lacks, and the figures that cannot be made again without them."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from api.cli.given_files import is_made, measured_as
from core.evaluation.measurement import ProducedFigures
from core.evaluation.measurements import MEASUREMENTS
from core.schema.evaluation import Measurements, SetName
from core.schema.jobs import SetUsed
from core.schema.report import Report

_BY_ITSELF = re.compile(
    r"(?:sets|variants\.\w+)\.(?P<set>\w+)\."
    r"(?:perplexity|perplexity_tokens|accuracy|probability|exact_memorization|extraction_strength(?:_highest)?)\.\w+"
)
"""Figures of a set that rest on the model and on its measured records. Others draw names and numbers from all sets."""
_WHOLE: frozenset[SetName] = frozenset({"forget", "probes"})
"""Sets that are measured whole. Of all others, records in another set or in an earlier request are left out."""
_ON_BEFORE = re.compile(
    r"across\.|notes\.|warnings|cut_short|curves\.weight_|sets\.\w+\.(?:\w+_change|\w+_ratio|fluency_perplexity)\."
)
_ON_RETRAINED = re.compile(r"attacks\.reference\.|across\.|notes\.|warnings|cut_short")
_ON_EARLIER = re.compile(r"previously_forgotten|across\.previously_forgotten|warnings")


@dataclass(frozen=True)
class MissingInputs:
    """The inputs that a check lacks: sets, models, benchmark tasks, and the text of other requests."""

    names: frozenset[SetName]
    """The sets of which not all files are given, as options name them."""
    made: frozenset[SetName]
    """The sets that the job made itself. Nobody can give them."""
    sets: frozenset[SetName]
    """The measured sets of which text is missing: retain text of the kind `general` is measured in `general`."""
    before: bool
    retrained: bool
    tasks: bool
    earlier: bool
    shared: bool
    """True if other jobs shared the run. Their files are needed, too, but the report does not name them."""
    left_out: bool
    """True if the job skipped records that another file also held, and that file is missing here. The check would
    measure the skipped records, so its figures would differ."""
    out_of_time: frozenset[str]
    """Measurements that their time limit cut short in the job, on one of its models at least."""

    @classmethod
    def of(
        cls,
        report: Report,
        matched: Sequence[tuple[SetUsed, Path | None]],
        *,
        before: bool,
        retrained: bool,
        tasks: bool,
    ) -> "MissingInputs":
        """Compares what the job measured with and what is given: the sets with their files, and whether each of the
        others is."""
        figures = report.figures
        models = [model for model in (figures.before, figures.after, figures.retrained) if model is not None]
        absent = [used for used, path in matched if path is None]
        made = [used for used in absent if is_made(used)]
        missing = [used for used in absent if not is_made(used)]
        earlier = bool(report.previously_forgotten) or report.model.start_checkpoint is not None
        shared = bool(report.shared_run)
        overlapping = any(warning.code == "overlapping_sets" for warning in report.warnings)
        return cls(
            names=frozenset(used.name for used in missing),
            made=frozenset(used.name for used in made if used.part != "trains"),
            sets=frozenset(measured_as(used) for used in absent if used.part != "trains"),
            before=report.figures.before is not None and not before,
            retrained=report.figures.retrained is not None and not retrained,
            tasks=any(model.benchmarks for model in models) and not tasks,
            earlier=earlier,
            shared=shared,
            # made text repeats no other set's, so that nothing is left out for it
            left_out=overlapping and (bool(missing) or earlier or shared),
            out_of_time=measurements_out_of_time(models),
        )

    @property
    def words(self) -> str:
        """The missing inputs by the options that name them, and what else cannot be given."""
        options = [f"--{name}" for name in sorted(self.names)]
        named = (("--before", self.before), ("--retrained-model", self.retrained), ("--benchmark-tasks", self.tasks))
        options += [option for option, missing in named if missing]
        others = (
            (f"the text that the job made for {', '.join(sorted(self.made))}", bool(self.made)),
            ("the text of earlier requests", self.earlier),
            ("the text of the jobs that shared the run", self.shared),
            ("which records the job left out of its sets", self.left_out),
            (f"how far {', '.join(sorted(self.out_of_time))} came in the job's time", bool(self.out_of_time)),
        )
        return ", ".join([*options, *(words for words, missing in others if missing)])

    def decides(self, place: str, out_of_time: Collection[str] = ()) -> bool:
        """Returns whether the figure at this place may be another one for want of what is not given, or of time.

        `out_of_time` names the measurements that ran out of time on the figure's model, or on one that it rests on.
        """
        own = _BY_ITSELF.fullmatch(place)
        return (
            (bool(self.sets) and place != "model_digest" and (own is None or own["set"] in self.sets))
            or (self.left_out and place != "model_digest" and (own is None or own["set"] not in _WHOLE))
            or (self.before and _ON_BEFORE.match(place) is not None)
            or (self.retrained and _ON_RETRAINED.match(place) is not None)
            or (self.tasks and place.startswith(("benchmarks.", "warnings")))
            or (self.earlier and _ON_EARLIER.match(place) is not None)
            or any(_is_made_by(name, place) for name in out_of_time)
        )


def measurements_out_of_time(models: Iterable[Measurements]) -> frozenset[str]:
    """Returns the measurements that their time limit cut short: how far they come differs from run to run."""
    return frozenset(cut.measurement for model in models for cut in model.cut_short if cut.reason == "seconds")


def _is_made_by(measurement: str, place: str) -> bool:
    """Returns whether a measurement that its time limit may cut short decides what stands at this place."""
    produced = MEASUREMENTS[measurement].produces if measurement in MEASUREMENTS else ProducedFigures()
    first, *parts = re.split(r"[.\[]", place)
    of_sets = produced.figures if (first == "variants") == bool(produced.variants) else ()
    names = {*of_sets, *produced.attacks, *produced.across, *produced.curves}
    return first in (measurement, "cut_short", "warnings", "notes") or not names.isdisjoint(parts)
