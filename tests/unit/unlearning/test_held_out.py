"""Retain records that a tuned training sets aside."""

from core.schema.job_spec import RecordSet
from core.unlearning.held_out import FEWEST, MOST, SHARE, hold_out
from tests.unit.lm.tiny import records


def retain_set(count, seed=1, kind="in_distribution"):
    return RecordSet(name="retain", kind=kind, weight=2.0, records=records(count, seed=seed))


def test_a_share_of_every_set_is_set_aside_once_and_the_same_for_the_same_seed():
    sets = [retain_set(80), retain_set(40, seed=2, kind="general")]
    kept, held_out = hold_out(sets, 7)
    assert [len(records.records) for records in kept] == [80 - round(SHARE * 80), 40 - round(SHARE * 40)]
    assert [records.weight for records in kept] == [2.0, 2.0]
    trained = [record for records in kept for record in records.records]
    everything = [record for records in sets for record in records.records]
    assert len(trained) + len(held_out) == len(everything)
    assert all(record in trained or record in held_out for record in everything)
    assert not any(record in trained for record in held_out)
    assert hold_out(sets, 7) == (kept, held_out)
    assert hold_out(sets, 8)[1] != held_out


def test_of_few_records_enough_are_set_aside_to_tell_something_but_a_third_at_most():
    assert [len(hold_out([retain_set(count)], 0)[1]) for count in (8, 12, 24, 40)] == [2, 4, 8, 8]
    several = [retain_set(2, seed=seed) for seed in range(6)]
    assert len(hold_out(several, 0)[1]) == 4


def test_a_large_set_gives_a_limited_number_and_a_small_one_none():
    assert len(hold_out([retain_set(1000)], 0)[1]) == MOST
    small = [retain_set(FEWEST - 1)]
    assert hold_out(small, 0) == (small, [])
    assert hold_out([], 0) == ([], [])
