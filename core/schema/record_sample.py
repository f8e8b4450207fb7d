"""A sample of a set's records by their digests, taken as the records stream by."""

import heapq

from core.schema.record import Record


class RecordSample:
    """Keeps the at most `limit` records with the smallest digests, so that a larger sample holds every smaller one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._heap: list[tuple[int, int, Record]] = []  # digest and position, both negative: the largest is on top

    def add(self, record: Record) -> None:
        """Takes note of the next record of the set."""
        entry = (-int.from_bytes(record.digest(), "big"), -self._count, record)
        self._count += 1
        if len(self._heap) < self._limit:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def records(self) -> list[tuple[int, Record]]:
        """Returns the sampled records with their positions in the set, from 0, in order."""
        return sorted(((-position, record) for _, position, record in self._heap), key=lambda sampled: sampled[0])
