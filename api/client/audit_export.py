"""The export of an audit log: over as many connections as it takes, checked entry by entry."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from api.client.call import get, url_path
from api.client.errors import DigestMismatch, UnexpectedAnswer, UnlearningError
from api.client.line_buffer import LineBuffer
from api.client.part_file import whole_file
from api.client.retries import may_repeat
from api.client.steps import Open, Pause, Read, Steps, Work
from core.schema.audit import AuditHead, AuditLine, entry_hash


def export(file: Path, after: int) -> Steps[AuditHead | None]:
    """Writes the entries with higher numbers than `after`, and the signed heads between them.

    Returns the newest entry's number and hash; None: there is no such entry.
    """
    with whole_file(file) as part, part.open("w+b") as sink:
        newest = yield from _write(sink, after)
    return newest


def _write(sink: BinaryIO, after: int) -> Steps[AuditHead | None]:
    chain, failures = _Chain(after), 0
    while True:
        call = get(url_path("audit", "export"), after=chain.seq)
        try:
            yield Open(call)
            lines = LineBuffer()
            while (piece := (yield Read())) is not None:
                yield Work(partial(_append, sink, chain, lines.add(piece)))
                failures = 0
            return chain.newest
        except UnlearningError as error:
            if not may_repeat(call, error):
                raise
            failures += 1
            yield Pause(failures, error)
        sink.seek(chain.step_back())
        sink.truncate()


def _append(sink: BinaryIO, chain: "_Chain", lines: Iterable[bytes]) -> None:
    for line in lines:
        chain.add(line, sink.tell())
        sink.write(line + b"\n")


class _Chain:
    """The entries that have come. Each must follow the entry before."""

    def __init__(self, after: int) -> None:
        self.newest: AuditHead | None = None
        self._after = after
        self._before: AuditHead | None = None
        self._offset = 0

    @property
    def seq(self) -> int:
        """The number of the newest entry."""
        return self._after if self.newest is None else self.newest.seq

    def add(self, line: bytes, offset: int) -> None:
        """Checks a line, which begins at this offset of the file, against the lines before. Raises DigestMismatch."""
        try:
            entry = AuditLine.model_validate_json(line).entry
        except ValidationError:
            raise UnexpectedAnswer("the service sent a line that is not of an audit log") from None
        if entry is None:
            return
        name = f"entry {entry.seq} of the audit log"
        if (found := entry_hash(entry)) != entry.hash:
            raise DigestMismatch(name, stated=entry.hash, found=found)
        if entry.seq != self.seq + 1:
            raise UnexpectedAnswer(f"the service sent {name} after entry {self.seq}")
        if self.newest is not None and entry.previous != self.newest.hash:
            raise DigestMismatch(f"entry {self.seq} of the audit log", stated=entry.previous, found=self.newest.hash)
        self._before, self._offset = self.newest, offset
        self.newest = AuditHead(organisation=entry.organisation, seq=entry.seq, hash=entry.hash)

    def step_back(self) -> int:
        """Forgets the newest entry, since a signed head behind it may be missing, and returns its offset."""
        self.newest = self._before
        return self._offset
