"""The inputs of a job that a check of its figures lacks, and the figures that cannot be made again without them."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.schema.evaluation import SetName
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
    """The sets that are not given, or not all files of them, as options name them."""
    sets: frozenset[SetName]
    """The same sets as they are measured: retain text of the kind `general` is measured in `general`."""
    before: bool
    retrained: bool
    tasks: bool
    earlier: bool
    shared: bool
    """Whether other jobs shared the run. Their text can never be given: the report does not name its files."""
    left_out: bool
    """Whether the job left out records that also stand in a missing input. The check would measure them."""

    @classmethod
    def of(
        cls,
        report: Report,
        given: Iterable[tuple[str, str]],
        *,
        before: bool,
        retrained: bool,
        tasks: bool,
    ) -> "MissingInputs":
        """Compares what the job measured with and what is given: the names and sha256 of the files, and whether each of
        the others is."""
        models = [model for model in (report.figures.before, report.figures.after) if model is not None]
        missing = _missing_sets(report.data, given)
        earlier = bool(report.previously_forgotten) or report.model.start_checkpoint is not None
        shared = bool(report.shared_run)
        overlapping = any(warning.code == "overlapping_sets" for warning in report.warnings)
        divided = any(used.part is not None for used in report.data)
        return cls(
            names=frozenset(used.name for used in missing),
            sets=frozenset(_measured_as(used) for used in missing),
            before=report.figures.before is not None and not before,
            retrained=report.figures.retrained is not None and not retrained,
            tasks=any(model.benchmarks for model in models) and not tasks,
            earlier=earlier,
            shared=shared,
            left_out=divided or (overlapping and (bool(missing) or earlier or shared)),
        )

    @property
    def words(self) -> str:
        """The missing inputs by the options that name them, and what else cannot be given."""
        options = [f"--{name}" for name in sorted(self.names)]
        named = (("--before", self.before), ("--retrained-model", self.retrained), ("--benchmark-tasks", self.tasks))
        options += [option for option, missing in named if missing]
        others = (
            ("the text of earlier requests", self.earlier),
            ("the text of the jobs that shared the run", self.shared),
            ("which records the job left out of its sets", self.left_out),
        )
        return ", ".join([*options, *(words for words, missing in others if missing)])

    def decides(self, place: str) -> bool:
        """Returns whether the figure at this place may be another one for want of what is not given."""
        own = _BY_ITSELF.fullmatch(place)
        return (
            (bool(self.sets) and place != "model_digest" and (own is None or own["set"] in self.sets))
            or (self.left_out and place != "model_digest" and (own is None or own["set"] not in _WHOLE))
            or (self.before and _ON_BEFORE.match(place) is not None)
            or (self.retrained and _ON_RETRAINED.match(place) is not None)
            or (self.tasks and place.startswith(("benchmarks.", "warnings")))
            or (self.earlier and _ON_EARLIER.match(place) is not None)
        )


def _measured_as(used: SetUsed) -> SetName:
    """Returns the set in which the records are measured."""
    return "general" if used.kind == "general" else used.name


def _missing_sets(data: Sequence[SetUsed], given: Iterable[tuple[str, str]]) -> list[SetUsed]:
    """Returns the sets that none of the given files is.

    A set without a digest is one of the files of its name whose digest no set has, as long as these suffice. Where they
    may be of several kinds, nobody can tell which file is which set, so that all of these sets are missing.
    """
    stated = {(used.name, used.sha256) for used in data if used.sha256 is not None}
    files = list(given)
    unknown = Counter(name for name, digest in files if (name, digest) not in stated)
    kinds = Counter(name for name, _ in {(used.name, used.kind) for used in data if used.sha256 is None})
    missing = []
    for used in data:
        if used.sha256 is not None:
            absent = (used.name, used.sha256) not in files
        else:
            absent = kinds[used.name] > 1 or unknown[used.name] == 0
            unknown[used.name] -= not absent
        if absent:
            missing.append(used)
    return missing
