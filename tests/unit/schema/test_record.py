"""A record's texts, copies and digests, in each of its three shapes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.record import Message, Record, prompt_end

SYSTEM, USER, ANSWER = (
    Message(role="system", content="s"),
    Message(role="user", content="q"),
    Message(role="assistant", content="a"),
)
TEXT = Record(text="a")
PAIR = Record(prompt="q", completion="a")
CHAT = Record(messages=[SYSTEM, USER, ANSWER])
UNASKED = Record(messages=[SYSTEM, ANSWER])
SHAPES = [TEXT, PAIR, CHAT, UNASKED]


@pytest.mark.parametrize(
    ("record", "texts", "raw_prompt", "question"),
    [
        (TEXT, ["a"], "", ""),
        (PAIR, ["q", "a"], "q", "q"),
        (CHAT, ["s", "q", "a"], "s\nq\n", "q"),
        (UNASKED, ["s", "a"], "s\n", ""),
    ],
)
def test_the_last_text_is_scored_and_the_others_are_its_prompt(
    record: Record, texts: list[str], raw_prompt: str, question: str
) -> None:
    assert record.texts() == texts
    assert record.scored_text == "a"
    assert record.raw_prompt == raw_prompt
    assert record.question == question
    assert record.is_plain_text == (record is TEXT)
    assert record.is_conversation == (record in (CHAT, UNASKED))


def test_probes_and_other_answers_are_among_all_texts_but_not_among_the_own() -> None:
    record = Record(
        prompt="q", completion="a", alternate="b", paraphrases=["p"], paraphrased_answer="c", wrong=["d", " "], id="i"
    )
    assert record.texts() == ["q", "a"]
    assert sorted(record.all_texts()) == [" ", "a", "b", "c", "d", "p", "q"]


@pytest.mark.parametrize("record", SHAPES)
def test_a_copy_with_another_scored_text_may_score_nothing_and_keeps_the_rest(record: Record) -> None:
    record = record.model_copy(update={"id": "i", "wrong": ["b"]})
    copy = record.with_scored_text("")
    assert copy.texts() == [*record.texts()[:-1], ""]
    assert (copy.id, copy.wrong) == ("i", ["b"])
    assert record.scored_text == "a"


@pytest.mark.parametrize("record", SHAPES)
def test_a_record_with_other_texts_has_the_shape_and_nothing_else(record: Record) -> None:
    changed = record.model_copy(update={"id": "i", "subject": "x"}).with_texts([*"xyz"[: len(record.texts())]])
    assert changed.texts() == [*"xyz"[: len(record.texts())]]
    assert (changed.id, changed.subject) == (None, None)
    assert [message.role for message in changed.messages or ()] == [message.role for message in record.messages or ()]


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        (TEXT, Record(prompt="new", completion="a")),
        (PAIR, Record(prompt="new", completion="a")),
        (CHAT, Record(messages=[SYSTEM, Message(role="user", content="new"), ANSWER])),
        (UNASKED, Record(messages=[SYSTEM, Message(role="user", content="new"), ANSWER])),
    ],
)
def test_another_question_takes_the_place_of_the_last_one(record: Record, asked: Record) -> None:
    assert record.model_copy(update={"id": "i", "wrong": ["b"]}).with_question("new") == asked


@pytest.mark.parametrize(
    ("shape", "answered"),
    [
        ({"text": "a"}, {"text": "new"}),
        ({"prompt": "p", "completion": "a"}, {"prompt": "p", "completion": "new"}),
        (
            {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]},
            {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "new"}]},
        ),
    ],
)
def test_another_answer_takes_the_place_of_what_is_scored(shape: dict[str, Any], answered: dict[str, Any]) -> None:
    assert Record.model_validate(shape).with_scored_text("new") == Record.model_validate(answered)


def test_blank_wrong_answers_are_none() -> None:
    assert Record(text="a", wrong=["b", " ", ""]).wrong_answers() == ["b"]
    assert Record(text="a").wrong_answers() == []


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
    assert text[: prompt_end(text)] == prompt


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_prompt_and_completion_of_a_cut_text_are_the_text_and_the_completion_is_not_blank(text):
    found = Record(text=text, id="7", subject="s").as_prompt_and_completion()
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
        assert record.as_prompt_and_completion() is record
        assert record.scored_text == "c"
        changed = record.with_scored_text("d")
        assert changed.scored_text == "d"
        assert record.scored_text == "c"


def test_the_digest_is_of_all_fields_but_the_empty_ones() -> None:
    assert TEXT.digest().hex() == "6193c97585a0f731ce7b500bb69d2476816afb14c8d95ac8e6e865f680e9e438"
    assert json.loads(TEXT.to_json()) == {"text": "a"}
    records = [TEXT, PAIR, CHAT, TEXT.model_copy(update={"id": "i"}), TEXT.model_copy(update={"wrong": ["b"]})]
    assert len({record.digest() for record in records}) == len(records)


def test_the_identity_leaves_the_id_out() -> None:
    assert TEXT.model_copy(update={"id": "i"}).identity() == TEXT.identity() == '{"text":"a"}'
    assert TEXT.model_copy(update={"subject": "x"}).identity() != TEXT.identity()
