"""The interface of a measurement: its parameters, its budget and its figures. Without torch: the API imports it too."""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from core.evaluation.budget import Budget
from core.schema.evaluation import MeasurementResult, Measurements, Moment, SetName
from core.schema.strict import Strict

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

Group = Literal["standard", "thorough"]
"""`standard` is measured in every job. `thorough` adds all but those that are chosen by name only."""

ALL_MOMENTS: frozenset[Moment] = frozenset({"before", "after", "retrained"})


class Source(Strict):
    """The publication or software that a measurement comes from."""

    title: str
    url: str


class ProducedFigures(Strict):
    """The names of the figures that a measurement produces and a policy may put a bound on."""

    figures: tuple[str, ...] = ()
    sets: tuple[SetName, ...] | None = None
    """The sets that have the figures; None: every set."""
    variants: tuple[str, ...] = ()
    """The changed copies of the model that have the figures; empty: the model itself."""
    attacks: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()

    def includes(self, figure: str, name: SetName, variant: str | None) -> bool:
        """Whether the measurement produces this figure of this set, for this copy of the model."""
        of_copy = variant in self.variants if variant is not None else not self.variants
        return of_copy and figure in self.figures and (self.sets is None or name in self.sets)


class Measurement(Strict, ABC):
    """One measurement: a file of `measurements/` that holds its parameters and calls its mathematics.

    torch and other heavy libraries are imported inside `measure` only.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """The figures by name and how each is computed, for docs/measurements.md, the API and the command."""
    produces: ClassVar[ProducedFigures] = ProducedFigures()
    source: ClassVar[Source | None] = None
    group: ClassVar[Group | None] = "standard"
    needs: ClassVar[frozenset[SetName]] = frozenset()
    """The measurement is left out unless the job has all of these sets."""
    reads: ClassVar[frozenset[SetName] | None] = None
    """The sets that decide the figures, and so belong to the cache key; None: all sets."""
    moments: ClassVar[frozenset[Moment]] = ALL_MOMENTS
    is_attack: ClassVar[bool] = False
    """Whether it belongs to the job's phase `attacking`."""
    changes_weights: ClassVar[bool] = False
    """Whether it may change the weights: the model is loaded again for the next measurement."""
    order: ClassVar[int] = 0
    """Measurements run in ascending order: those that read the columns of others come later."""
    cheaper: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Parameters that make it cheaper, one step after the other, where measuring would cost more than unlearning."""
    smaller_shows_more: ClassVar[frozenset[str]] = frozenset()
    """Parameters of which a smaller number shows more. Of every other parameter, a larger number shows more."""

    _chosen_by_name: bool = PrivateAttr(default=False)

    @property
    def chosen_by_name(self) -> bool:
        """Whether the measurement was chosen by its own name, not as part of a group."""
        return self._chosen_by_name

    def mark_chosen_by_name(self) -> Self:
        """Marks the measurement as chosen by its own name, and returns it."""
        self._chosen_by_name = True
        return self

    @property
    def passes(self) -> float:
        """How often a record's tokens go through the model, about."""
        return 1.0

    @classmethod
    def for_group(cls, group: Group) -> Self:
        """The measurement with the parameters that it has as part of a group."""
        return cls()

    def budget(self, context: "EvalContext") -> Budget:
        """A budget whose time starts now; only a `Budgeted` measurement has a limit of time."""
        return Budget(self.name, seconds=self.time_limit, check_stop=context.check_stop)

    @property
    def time_limit(self) -> float:
        """Seconds after which the measurement stops; infinite where it always finishes."""
        return math.inf

    @abstractmethod
    def measure(self, context: "EvalContext") -> MeasurementResult:
        """Returns the figures. Raises CoreError, and whatever `context.check_stop` raises."""

    def cache_key_parts(self, context: "EvalContext") -> list[Any]:
        """What decides the figures besides model, records, parameters and code, as values that JSON can hold."""
        return []

    def compare_with_original(self, original: Measurements, result: MeasurementResult) -> MeasurementResult:
        """Further figures and warnings from the figures of the model that the job started from; never cached."""
        return MeasurementResult()


class OnePass(Measurement, ABC):
    """Measures all records by default, so that a single record that is still known shows.

    It has no limit of time, which would leave out an accidental part of the records.
    """

    records: int | None = Field(default=None, ge=1, description="at most this many records of a set; null: all")


class Budgeted(Measurement, ABC):
    """Measures one record after the other, until its time is up."""

    seconds: float = Field(
        default=600.0,
        gt=0,
        le=86_400,
        description="time limit: after it the measurement stops and says so in `cut_short`",
    )
    records: int | None = Field(default=None, ge=1, description="at most this many records of a set; null: all")

    @property
    def time_limit(self) -> float:
        return self.seconds
