"""Measures a case: each side is a process, and the two take turns update by update, so that noise affects both."""

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

from benchmarks.case import Case, step_tokens
from core.lm.memory import HUGE_PAGES

SIDES = ("core", "plain")
ENDED_BY_MEMORY = (-9, 137)


class SideFailed(Exception):
    """One of the two processes ended before its work was done; the message is the end of its output."""


@dataclass
class Track:
    """Seconds and losses of a side's updates, and its peak memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    terms: list[float] = field(default_factory=list)
    """The sum of the absolute values of each loss's terms: differences of losses are relative to it."""

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
        self._send(json.dumps(asdict(case)))

    def wait_until_ready(self) -> None:
        """Waits until the model is built. Everything after that is timed."""
        ready = self._receive()
        if ready["kind"] == "ready":
            self.track.flops_per_token = tuple(ready["flops_per_token"])
            self.track.peak_flops = ready["peak_flops"]

    def update(self) -> None:
        """Makes one update, unless the memory has run out before."""
        if self.track.out_of_memory:
            return
        self._send("go")
        event = self._receive()
        if event["kind"] == "step":
            self.track.seconds.append(event["seconds"])
            self.track.losses.append(event["loss"])
            self.track.terms.append(event["terms"])
            self.track.peak, self.track.added = event["peak"], event["added"]

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._fail()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        event: dict[str, Any] = json.loads(line) if line else self._fail()
        self.track.out_of_memory = event["kind"] == "out_of_memory"
        return event

    def _fail(self) -> dict[str, Any]:
        if self._process.wait() in ENDED_BY_MEMORY:
            return {"kind": "out_of_memory"}
        self._stderr.seek(0)
        raise SideFailed("\n".join(self._stderr.read().splitlines()[-15:]))


@contextmanager
def start_side(name: str, case: Case) -> Iterator[Side]:
    """Starts a side, `core` or `plain`, and kills it at the end of the block. Raises SideFailed."""
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
    """A case and the tracks of both sides. Ratios are the core's value to the plain trainer's."""

    case: Case
    tokens: list[int]
    """Tokens of each update, of both sets, without padding; equal for both sides."""

    core: Track
    plain: Track

    @property
    def complete(self) -> bool:
        return not (self.core.out_of_memory or self.plain.out_of_memory)

    def speed(self, track: Track) -> float:
        """Returns tokens per second: the median of the timed updates."""
        return median(tokens / seconds for tokens, seconds in self._timed(track))

    def speedup(self) -> float:
        """Returns the median over the timed updates of the plain trainer's seconds divided by the core's."""
        pairs = zip(self.core.seconds, self.plain.seconds, strict=True)
        return median(plain / core for core, plain in list(pairs)[self.case.warmup :])

    def total_speedup(self) -> float:
        """Returns the speedup of the whole training, including everything before the first update."""
        return sum(self.plain.seconds) / sum(self.core.seconds)

    def memory_ratio(self) -> float:
        return self.core.added / self.plain.added

    def loss_difference(self) -> float:
        """Returns the largest difference of an update's losses, relative to the sum of the loss's absolute terms."""
        pairs = zip(self.core.losses, self.plain.losses, self.plain.terms, strict=True)
        return max(abs(core - plain) / terms for core, plain, terms in pairs)

    def utilization(self, track: Track) -> float | None:
        """Returns the model FLOPs utilization, 0 to 1; None if the device's peak is not known."""
        if track.peak_flops is None:
            return None
        length = sum(self.tokens) / (2 * self.case.records_per_step * self.case.steps)
        per_token = track.flops_per_token[0] + track.flops_per_token[1] * length
        return self.speed(track) * per_token / track.peak_flops

    def _timed(self, track: Track) -> list[tuple[int, float]]:
        return list(zip(self.tokens, track.seconds, strict=True))[self.case.warmup :]


def race(case: Case, *, interleaved: bool, report: Callable[[str], None]) -> Result:
    """Measures a case.

    `interleaved`: both processes run and take turns; else they run one after the other, each with all memory.

    Raises SideFailed.
    """
    tracks: dict[str, Track] = {}
    for names in (SIDES,) if interleaved else (SIDES[:1], SIDES[1:]):
        with ExitStack() as stack:
            sides = {name: stack.enter_context(start_side(name, case)) for name in names}
            for side in sides.values():
                side.wait_until_ready()
            for step in range(case.steps):
                for name, side in sides.items():
                    report(f"update {step + 1} of {case.steps}, {name}")
                    side.update()
            tracks |= {name: side.track for name, side in sides.items()}
    return Result(case, step_tokens(case), **tracks)
