"""What a job measured with that is not given to make its figures again, and the figures that rest on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.schema.evaluation import SetName
from core.schema.report import Report

_BY_ITSELF = re.compile(
    r"(?:sets|variants\.\w+)\.(?P<set>\w+)\."
    r"(?:perplexity|perplexity_tokens|accuracy|probability|exact_memorization|extraction_strength(?:_highest)?)\.\w+"
)
"""Figures of a set that rest on the model and on this set alone. Others draw names and numbers from all sets."""
_ON_BEFORE = re.compile(
    r"across\.|notes\.|warnings|cut_short|curves\.weight_|sets\.\w+\.(?:\w+_change|\w+_ratio|fluency_perplexity)\."
)
_ON_RETRAINED = re.compile(r"attacks\.reference\.|across\.|notes\.|warnings|cut_short")
_ON_EARLIER = re.compile(r"previously_forgotten|across\.previously_forgotten|warnings")


@dataclass(frozen=True)
class MissingInputs:
    """What is not given: sets, models, tasks, and the text of earlier requests."""

    sets: frozenset[SetName]
    before: bool
    retrained: bool
    tasks: bool
    earlier: bool

    @classmethod
    def of(cls, report: Report, sets: Sequence[str], *, before: bool, retrained: bool, tasks: bool) -> "MissingInputs":
        """Compares what the job measured with and what is given: the `sets`, and whether each of the others is."""
        models = [model for model in (report.figures.before, report.figures.after) if model is not None]
        return cls(
            sets=frozenset(used.name for used in report.data) - frozenset(sets),
            before=report.figures.before is not None and not before,
            retrained=report.figures.retrained is not None and not retrained,
            tasks=any(model.benchmarks for model in models) and not tasks,
            earlier=bool(report.previously_forgotten),
        )

    @property
    def words(self) -> str:
        """The missing inputs by the options that name them."""
        options = [f"--{name}" for name in sorted(self.sets)]
        named = (("--before", self.before), ("--retrained-model", self.retrained), ("--benchmark-tasks", self.tasks))
        options += [option for option, missing in named if missing]
        return ", ".join([*options, *(["the text of earlier requests"] if self.earlier else [])])

    def decides(self, place: str) -> bool:
        """Returns whether the figure at this place may be another one for want of what is not given."""
        own = _BY_ITSELF.fullmatch(place)
        return (
            (bool(self.sets) and place != "model_digest" and (own is None or own["set"] in self.sets))
            or (self.before and _ON_BEFORE.match(place) is not None)
            or (self.retrained and _ON_RETRAINED.match(place) is not None)
            or (self.tasks and place.startswith(("benchmarks.", "warnings")))
            or (self.earlier and _ON_EARLIER.match(place) is not None)
        )
