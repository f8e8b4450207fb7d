"""A case measured: both sides as processes of their own, taking turns update by update, so that noise hits both."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import IO, Any

from benchmarks.case import Case, tokens
from core.lm.memory import HUGE_PAGES

SIDES = ("core", "plain")
ENDED_BY_MEMORY = (-9, 137)


class SideFailed(Exception):
    """One of the two processes ended before its work was done; the message is the end of what it wrote."""


@dataclass
class Track:
    """What one side did: seconds and losses of its updates, and its peak memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    terms: list[float] = field(default_factory=list)
    """The absolute values of a loss's terms, summed: what its differences are held against."""

    peak: int = 0
    added: int = 0
    flops_per_token: tuple[float, float] = (0.0, 0.0)
    peak_flops: float | None = None
    out_of_memory: bool = False


class Side:
    """A running `benchmarks.side`."""

    def __init__(self, process: subprocess.Popen[str], stderr: IO[str], case: Case) -> None:
        self.track = Track()
        self._process, self._stderr = process, stderr
        self._tell(json.dumps(asdict(case)))

    def get_ready(self) -> None:
        """Waits until the model is there: what comes after it is timed."""
        ready = self._hear()
        if ready["kind"] == "ready":
            self.track.flops_per_token = tuple(ready["flops_per_token"])
            self.track.peak_flops = ready["peak_flops"]

    def turn(self) -> None:
        """One update, unless the memory has run out before."""
        if self.track.out_of_memory:
            return
        self._tell("go")
        event = self._hear()
        if event["kind"] == "step":
            self.track.seconds.append(event["seconds"])
            self.track.losses.append(event["loss"])
            self.track.terms.append(event["terms"])
            self.track.peak, self.track.added = event["peak"], event["added"]

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._failed()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        event: dict[str, Any] = json.loads(line) if line else self._failed()
        self.track.out_of_memory = event["kind"] == "out_of_memory"
        return event

    def _failed(self) -> dict[str, Any]:
        if self._process.wait() in ENDED_BY_MEMORY:
            return {"kind": "out_of_memory"}
        self._stderr.seek(0)
        raise SideFailed("\n".join(self._stderr.read().splitlines()[-15:]))


@contextmanager
def started(name: str, case: Case) -> Iterator[Side]:
    """A side, `core` or `plain`, that is ended for good with the block. Raises SideFailed."""
    command = [sys.executable, "-m", "benchmarks.side", name]
    environment = os.environ | (HUGE_PAGES if name == "core" else {})  # as a job's process has them
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        ) as process,
    ):
        try:
            yield Side(process, stderr, case)
        finally:
            process.kill()


@dataclass(frozen=True)
class Result:
    """A case with what both sides did. Ratios are the core's to the plain trainer's."""

    case: Case
    tokens: list[int]
    """Of each update, of both sets, without padding: the same for both."""

    core: Track
    plain: Track

    @property
    def complete(self) -> bool:
        return not (self.core.out_of_memory or self.plain.out_of_memory)

    def speed(self, track: Track) -> float:
        """Tokens per second: the median of the timed updates."""
        return median(n / one for n, one in self._timed(track))

    def faster(self) -> float:
        """The median, over the timed updates, of the plain trainer's seconds to the core's for the same update."""
        pairs = zip(self.core.seconds, self.plain.seconds, strict=True)
        return median(plain / core for core, plain in list(pairs)[self.case.warmup :])

    def faster_in_all(self) -> float:
        """The same of the whole training, with everything that comes before its first update."""
        return sum(self.plain.seconds) / sum(self.core.seconds)

    def memory(self) -> float:
        return self.core.added / self.plain.added

    def loss_difference(self) -> float:
        """The largest difference of an update's losses, relative to the terms that the loss is the sum of."""
        pairs = zip(self.core.losses, self.plain.losses, self.plain.terms, strict=True)
        return max(abs(core - plain) / terms for core, plain, terms in pairs)

    def utilisation(self, track: Track) -> float | None:
        """Model FLOPs utilisation, 0 to 1; None where the device's peak is not known."""
        if track.peak_flops is None:
            return None
        length = sum(self.tokens) / (2 * self.case.records_per_step * self.case.steps)
        per_token = track.flops_per_token[0] + track.flops_per_token[1] * length
        return self.speed(track) * per_token / track.peak_flops

    def _timed(self, track: Track) -> list[tuple[int, float]]:
        return list(zip(self.tokens, track.seconds, strict=True))[self.case.warmup :]


def race(case: Case, *, at_once: bool, say: Callable[[str], None]) -> Result:
    """Measures a case. `at_once`: both processes live and take turns; else one after the other, each with all memory.

    Raises SideFailed.
    """
    tracks: dict[str, Track] = {}
    for names in (SIDES,) if at_once else (SIDES[:1], SIDES[1:]):
        with ExitStack() as stack:
            sides = {name: stack.enter_context(started(name, case)) for name in names}
            for side in sides.values():
                side.get_ready()
            for step in range(case.steps):
                for name, side in sides.items():
                    say(f"update {step + 1} of {case.steps}, {name}")
                    side.turn()
            tracks |= {name: side.track for name, side in sides.items()}
    return Result(case, tokens(case), **tracks)
