from hypothesis import given, settings
from hypothesis import strategies as st

from core.lm.split import split
from core.schema.record import Record

PEOPLE = st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.integers(0, 30)), max_size=60)


def made(drawn):
    return [Record(text=f"text {text}", subject=f"person {who}" if named else None) for who, named, text in drawn]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PEOPLE)
def test_each_record_is_in_one_half_and_a_subject_never_in_both(drawn):
    records = made(drawn)
    training, measuring = split(records, purpose="unseen")
    assert sorted(training + measuring) == list(range(len(records)))
    for subject in {record.subject for record in records} - {None}:
        halves = {index in training for index, record in enumerate(records) if record.subject == subject}
        assert len(halves) == 1
    for text in {record.text for record in records if record.subject is None}:
        twins = [index for index, one in enumerate(records) if one.subject is None and one.text == text]
        assert len({index in training for index in twins}) == 1


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PEOPLE, st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(drawn, random):
    records = made(drawn)
    shuffled = records.copy()
    random.shuffle(shuffled)
    one = [records[index].model_dump_json() for index in split(records, purpose="retain")[0]]
    other = [shuffled[index].model_dump_json() for index in split(shuffled, purpose="retain")[0]]
    assert sorted(one) == sorted(other)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PEOPLE)
def test_the_halves_differ_by_no_more_than_the_largest_group(drawn):
    records = made(drawn)
    groups = {}
    for record in records:
        key = record.subject or record.text
        groups[key] = groups.get(key, 0) + 1
    training, measuring = split(records, purpose="general")
    assert abs(len(training) - len(measuring)) <= max(groups.values(), default=0)


def test_four_hundred_single_records_are_halved_exactly_and_otherwise_for_another_purpose():
    records = [Record(text=f"record {number}") for number in range(400)]
    training, measuring = split(records, purpose="unseen")
    assert len(training) == len(measuring) == 200
    assert split(records, purpose="retain")[0] != training


def test_the_id_that_a_client_gives_does_not_move_a_record():
    plain = [Record(text=f"record {number}") for number in range(20)]
    named = [Record(text=f"record {number}", id=f"id-{number}") for number in range(20)]
    assert split(plain, purpose="unseen") == split(named, purpose="unseen")


def test_the_split_is_what_it_was_when_this_was_written():
    records = [Record(text=f"record {number}") for number in range(12)]
    people = [Record(text=f"record {number}", subject=f"person {number // 2}") for number in range(12)]
    assert split(records, purpose="unseen")[0] == [1, 4, 6, 8, 10, 11]
    assert split(people, purpose="retain")[0] == [4, 5, 8, 9, 10, 11]


def test_what_is_asked_beside_records_moves_none_that_had_it_not():
    """Fields that came later are no part of the hash of a record that lacks them."""
    records = [Record(text=f"record {number}", wrong=["no"], alternate="none") for number in range(12)]
    assert split(records, purpose="unseen")[0] == [0, 1, 2, 3, 6, 9]
