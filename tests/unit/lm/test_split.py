from hypothesis import given, settings
from hypothesis import strategies as st

from core.lm.split import split
from core.schema.record import Record

PEOPLE = st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.integers(0, 30)), max_size=60)


def records_of(people):
    return [
        Record(text=f"text {text}", subject=f"person {number}" if named else None) for number, named, text in people
    ]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PEOPLE)
def test_each_record_is_in_one_half_and_a_subject_never_in_both(people):
    records = records_of(people)
    training, measuring = split(records, purpose="unseen")
    assert sorted(training + measuring) == list(range(len(records)))
    for subject in {record.subject for record in records} - {None}:
        halves = {index in training for index, record in enumerate(records) if record.subject == subject}
        assert len(halves) == 1
    for text in {record.text for record in records if record.subject is None}:
        equal = [index for index, record in enumerate(records) if record.subject is None and record.text == text]
        assert len({index in training for index in equal}) == 1


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PEOPLE, st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(people, random):
    records = records_of(people)
    shuffled = records.copy()
    random.shuffle(shuffled)
    training = [records[index].model_dump_json() for index in split(records, purpose="retain")[0]]
    training_of_shuffled = [shuffled[index].model_dump_json() for index in split(shuffled, purpose="retain")[0]]
    assert sorted(training) == sorted(training_of_shuffled)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PEOPLE)
def test_the_halves_differ_by_no_more_than_the_largest_group(people):
    records = records_of(people)
    groups = {}
    for record in records:
        key = record.subject or record.text
        groups[key] = groups.get(key, 0) + 1
    training, measuring = split(records, purpose="general")
    assert abs(len(training) - len(measuring)) <= max(groups.values(), default=0)


def test_four_hundred_single_records_are_halved_exactly_and_differently_for_another_purpose():
    records = [Record(text=f"record {number}") for number in range(400)]
    training, measuring = split(records, purpose="unseen")
    assert len(training) == len(measuring) == 200
    assert split(records, purpose="retain")[0] != training


def test_the_id_that_a_client_gives_does_not_move_a_record():
    plain = [Record(text=f"record {number}") for number in range(20)]
    named = [Record(text=f"record {number}", id=f"id-{number}") for number in range(20)]
    assert split(plain, purpose="unseen") == split(named, purpose="unseen")


def test_the_split_is_pinned():
    records = [Record(text=f"record {number}") for number in range(12)]
    people = [Record(text=f"record {number}", subject=f"person {number // 2}") for number in range(12)]
    assert split(records, purpose="unseen")[0] == [1, 4, 6, 8, 10, 11]
    assert split(people, purpose="retain")[0] == [4, 5, 8, 9, 10, 11]


def test_a_records_fields_decide_its_half_and_empty_ones_do_not():
    """Fields that were added later are no part of the hash of a record that lacks them."""
    records = [Record(text=f"record {number}", wrong=["no"], alternate="none") for number in range(12)]
    assert split(records, purpose="unseen")[0] == [0, 1, 2, 3, 6, 9]
