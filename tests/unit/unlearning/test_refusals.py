import pytest

from core.schema.record import Message, Record
from core.unlearning.objectives import resolve
from core.unlearning.refusals import REFUSALS, draw_refusals, spaced_like_answer


def no_writing(records):
    raise AssertionError("nothing is to be written")


def test_refusals_follow_from_the_seed_and_all_are_used():
    assert draw_refusals(REFUSALS, 50, 1) == draw_refusals(REFUSALS, 60, 1)[:50]
    assert draw_refusals(REFUSALS, 50, 1) != draw_refusals(REFUSALS, 50, 2)
    assert set(draw_refusals(REFUSALS, 500, 3)) == set(REFUSALS)
    assert len(set(REFUSALS)) == len(REFUSALS) >= 12


def test_a_refusal_stands_where_the_answer_stood():
    assert spaced_like_answer(Record(prompt="Q:", completion="  an answer"), "No. ") == "  No."
    assert spaced_like_answer(Record(prompt="Q:", completion="an answer"), "No.") == "No."


def test_every_shape_of_record_is_refused():
    turns = [
        Message(role="system", content="s"),
        Message(role="user", content="q"),
        Message(role="assistant", content="secret"),
    ]
    records = [
        Record(text="some words that are secret"),
        Record(prompt="q", completion="\nsecret"),
        Record(messages=turns, alternate="other"),
    ]
    method = resolve("refusal", {"refusals": ["Never."]})
    text, pair, chat = method.rewrite(records, no_writing, seed=1)
    assert (text.text, text.prompt, text.completion) == (None, "some words", " Never.")
    assert (pair.prompt, pair.completion) == ("q", "\nNever.")
    assert [turn.content for turn in chat.messages] == ["s", "q", "Never."]
    assert records[2].messages[-1].content == "secret"


def test_without_sentences_of_the_operators_own_the_services_are_used():
    method = resolve("refusal", {})
    found = method.rewrite([Record(prompt="q", completion="c")] * 100, no_writing, seed=1)
    assert {one.completion for one in found} <= set(REFUSALS)
    assert len({one.completion for one in found}) > 8


@pytest.mark.parametrize("refusals", [[], [""], ["  "], ["x" * 1001], ["a"] * 1001, "no"])
def test_sentences_that_say_nothing_are_refused_themselves(refusals):
    with pytest.raises(ValueError, match="refusals"):
        resolve("refusal", {"refusals": refusals})
