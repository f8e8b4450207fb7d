import pytest

from core.schema.record import Message, Record
from core.unlearning.objectives import resolve
from core.unlearning.refusals import REFUSALS, draw_refusals, spaced_like_answer


def generate_nothing(records):
    raise AssertionError("no answer is to be generated")


def test_refusals_depend_on_the_seed_and_all_are_used():
    assert draw_refusals(REFUSALS, 50, 1) == draw_refusals(REFUSALS, 60, 1)[:50]
    assert draw_refusals(REFUSALS, 50, 1) != draw_refusals(REFUSALS, 50, 2)
    assert set(draw_refusals(REFUSALS, 500, 3)) == set(REFUSALS)
    assert len(set(REFUSALS)) == len(REFUSALS) >= 12


def test_a_refusal_has_the_leading_space_of_the_answer():
    assert spaced_like_answer(Record(prompt="Q:", completion="  an answer"), "No. ") == "  No."
    assert spaced_like_answer(Record(prompt="Q:", completion="an answer"), "No.") == "No."


def test_records_of_every_shape_get_a_refusal():
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
    text, pair, chat = method.rewrite(records, generate_nothing, seed=1)
    assert (text.text, text.prompt, text.completion) == (None, "some words", " Never.")
    assert (pair.prompt, pair.completion) == ("q", "\nNever.")
    assert [turn.content for turn in chat.messages] == ["s", "q", "Never."]
    assert records[2].messages[-1].content == "secret"


def test_the_services_refusals_are_the_default():
    method = resolve("refusal", {})
    rewritten = method.rewrite([Record(prompt="q", completion="c")] * 100, generate_nothing, seed=1)
    assert {record.completion for record in rewritten} <= set(REFUSALS)
    assert len({record.completion for record in rewritten}) > 8


@pytest.mark.parametrize("refusals", [[], [""], ["  "], ["x" * 1001], ["a"] * 1001, "no"])
def test_refusals_without_text_are_invalid(refusals):
    with pytest.raises(ValueError, match="refusals"):
        resolve("refusal", {"refusals": refusals})
