"""A sample by digest holds every smaller one, whatever the order of the records."""

import random

from core.schema.record import Record
from core.schema.record_sample import RecordSample

RECORDS = [Record(text=f"record {number}") for number in range(50)]


def sample(limit: int, records: list[Record]) -> list[tuple[int, Record]]:
    taken = RecordSample(limit)
    for record in records:
        taken.add(record)
    return taken.records()


def test_the_records_with_the_smallest_digests_come_in_order_with_their_positions() -> None:
    smallest = sorted(range(50), key=lambda index: RECORDS[index].digest())[:8]
    assert sample(8, RECORDS) == [(index, RECORDS[index]) for index in sorted(smallest)]
    assert sample(100, RECORDS) == list(enumerate(RECORDS))


def test_a_larger_sample_holds_a_smaller_one_and_order_does_not_matter() -> None:
    shuffled = RECORDS.copy()
    random.Random(3).shuffle(shuffled)
    few, many = ({record.text for _, record in sample(limit, RECORDS)} for limit in (4, 16))
    assert few < many == {record.text for _, record in sample(16, shuffled)}


def test_of_equal_records_the_first_ones_are_taken() -> None:
    assert [position for position, _ in sample(2, [RECORDS[0]] * 5)] == [0, 1]
