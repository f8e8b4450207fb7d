import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.record import Message, Record
from core.unlearning.objectives import resolve
from core.unlearning.refusals import REFUSALS, answer, cut, draw_refusals, spaced_like_answer, with_answer, with_prompt


def no_writing(records):
    raise AssertionError("nothing is to be written")


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("one two three four five six", "one two three"),
        ("a bb ccc", "a bb"),
        ("abc de fg", "abc"),
        ("first\n\nsecond third", "first\n\nsecond"),
        ("short andaverylongword", "short"),
        ("averylongword last", "averylongword"),
        ("  indented word", "  indented"),
        ("word", "w"),
        (" unbrokentext ", " unbr"),
        ("x", ""),
    ],
)
def test_a_plain_text_is_cut_after_the_word_that_reaches_a_third(text, prompt):
    assert text[: cut(text)] == prompt


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_prompt_and_completion_are_the_text_and_there_is_something_to_complete(text):
    found = with_prompt(Record(text=text, id="7", subject="s"))
    assert found.text is None
    assert found.prompt + found.completion == text
    assert found.completion.strip()
    assert (found.id, found.subject) == ("7", "s")
    assert Record.model_validate(found.model_dump()) == found


def test_a_record_with_a_prompt_keeps_it():
    for record in (
        Record(prompt="p", completion="c"),
        Record(messages=[Message(role="user", content="p"), Message(role="assistant", content="c")]),
    ):
        assert with_prompt(record) is record
        assert answer(record) == "c"
        changed = with_answer(record, "d")
        assert answer(changed) == "d"
        assert answer(record) == "c"


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
