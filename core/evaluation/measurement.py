"""What a measurement is: parameters, a budget, and what it finds. Without torch, since the API reads it too."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from core.schema.evaluation import CutShort, MeasurementResult, Measurements, Moment, SetName
from core.schema.strict import Strict

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext

Group = Literal["standard", "thorough"]
"""`standard` is measured of every job; `thorough` is `standard` and all else but what must be asked for by name."""

ALWAYS: frozenset[Moment] = frozenset({"before", "after", "retrained"})


class Source(Strict):
    """Where a measurement comes from."""

    title: str
    url: str


class Makes(Strict):
    """The names of the figures that a measurement makes and a bound may be put on."""

    figures: tuple[str, ...] = ()
    sets: tuple[SetName, ...] | None = None
    """Those that have the figures; None: every one."""
    variants: tuple[str, ...] = ()
    """The changed copies of the model that the figures are of; none: the model itself."""
    attacks: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()

    def has(self, figure: str, name: SetName, variant: str | None) -> bool:
        """Whether such a figure of the set, of this copy of the model, is one of them."""
        of_copy = variant in self.variants if variant is not None else not self.variants
        return of_copy and figure in self.figures and (self.sets is None or name in self.sets)


class Measurement(Strict, ABC):
    """One measurement: a file of `measurements/` holds its parameters and its mathematics.

    torch and other heavy libraries are imported inside of `measure` only.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What is computed, in one or two sentences; with the names of the figures."""
    makes: ClassVar[Makes] = Makes()
    source: ClassVar[Source | None] = None
    group: ClassVar[Group | None] = "standard"
    needs: ClassVar[frozenset[SetName]] = frozenset()
    """Without all of these sets it is not made."""
    reads: ClassVar[frozenset[SetName] | None] = None
    """The sets that decide what it finds; None: all."""
    moments: ClassVar[frozenset[Moment]] = ALWAYS
    attacks: ClassVar[bool] = False
    """It belongs to the phase `attacking`."""
    spoils: ClassVar[bool] = False
    """It may change the weights: the next measurement gets the model anew."""
    order: ClassVar[int] = 0
    """Higher ones come later: what reads others' columns, then what spoils."""

    _by_name: bool = PrivateAttr(default=False)

    @property
    def by_name(self) -> bool:
        """Whether it was asked for itself, not as one of a group."""
        return self._by_name

    def named(self) -> Self:
        """The same, asked for itself."""
        self._by_name = True
        return self

    @abstractmethod
    def measure(self, context: "EvalContext") -> MeasurementResult:
        """The figures. Raises CoreError, and whatever `context.heard` raises."""

    def depends(self, context: "EvalContext") -> list[Any]:
        """What else than model, records, parameters and code decides what it finds: as JSON holds it."""
        return []

    def compared(self, original: Measurements, found: MeasurementResult) -> MeasurementResult:
        """What more there is to say once the model that the job started from is known; it is kept in no cache."""
        return MeasurementResult()


class OnePass(Measurement, ABC):
    """Looks at all records by default, so that a single one that is still known shows. It has no limit of time, which
    would leave an accidental part."""

    records: int | None = Field(default=None, ge=1, description="at most so many records of a set; null: all")


class Budgeted(Measurement, ABC):
    """Looks at one record after the other, as long as there is time."""

    seconds: float = Field(default=600.0, gt=0, le=86_400, description="after so long it stops, and says so")
    records: int | None = Field(default=None, ge=1, description="at most so many records of a set; null: all")


class Budget:
    """The time of one measurement: the last resort. What a limit on records leaves out is the same every time."""

    def __init__(self, measurement: Measurement, heard: Callable[[], None]) -> None:
        self._measurement, self._heard = measurement, heard
        self._until = time.monotonic() + (measurement.seconds if isinstance(measurement, Budgeted) else math.inf)
        self.cut: list[CutShort] = []

    def over(self) -> bool:
        """Whether the time is up; to be asked between batches. Raises what a wish to stop raises."""
        self._heard()
        return time.monotonic() >= self._until

    def left_out(self, what: str, *, done: int, of: int, reason: Literal["records", "seconds"]) -> None:
        """Notes that `done` of `of` records were measured; nothing where that is all."""
        if done < of:
            cut = CutShort(measurement=self._measurement.name, what=what, done=done, of=of, reason=reason)
            self.cut.append(cut)
