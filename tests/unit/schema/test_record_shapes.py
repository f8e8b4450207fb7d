"""Records are read by a table of known shapes; unknown fields are refused by their place or name."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schema.bad_record import BadRecord
from core.schema.record import Record
from core.schema.record_shapes import INDEX_FIELDS, KNOWN_FIELDS, SHAPES
from tests.unit.schema.read_records import read

USER, ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("row", "record", "shape", "fields"),
    [
        ({"question": "a", "answer": "b"}, {"prompt": "a", "completion": "b"}, "question and answer",
         {"question": "prompt", "answer": "completion"}),
        ({"prompt": "a", "response": "b"}, {"prompt": "a", "completion": "b"}, "prompt and response",
         {"response": "completion"}),
        ({"instruction": "a", "input": "b", "output": "c"}, {"prompt": "a\n\nb", "completion": "c"}, "Alpaca",
         {"instruction": "prompt", "input": "prompt", "output": "completion"}),
        ({"instruction": "a", "input": "", "output": "c"}, {"prompt": "a", "completion": "c"}, "Alpaca",
         {"instruction": "prompt", "input": "prompt", "output": "completion"}),
        ({"input": "a", "output": "b"}, {"prompt": "a", "completion": "b"}, "input and output",
         {"input": "prompt", "output": "completion"}),
        ({"instruction": "a", "context": "b", "response": "c", "category": "d"},
         {"prompt": "a\n\nb", "completion": "c"}, "Dolly",
         {"instruction": "prompt", "context": "prompt", "response": "completion"}),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
         {"messages": [USER, ANSWER]}, "ShareGPT",
         {"conversations": "messages", "from": "role", "value": "content"}),
        ({"conversations": [USER, ANSWER], "system": "c"},
         {"messages": [{"role": "system", "content": "c"}, USER, ANSWER]}, "ShareGPT",
         {"conversations": "messages", "system": "messages"}),
        ({"messages": [{"role": "developer", "content": "c"}, {**USER, "name": "n"}, {**ANSWER, "weight": 1}]},
         {"messages": [{"role": "system", "content": "c"}, USER, ANSWER]}, "messages", {}),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
                       {**ANSWER, "tool_calls": None, "refusal": None}]},
         {"messages": [{"role": "user", "content": "x\ny"}, ANSWER]}, "messages", {}),
        ({"content": "a b"}, {"text": "a b"}, "content", {"content": "text"}),
        ({"body": "a b"}, {"text": "a b"}, "body", {"body": "text"}),
        ({"Text": "a b", "ID": 7, "subject": 8.0}, {"text": "a b", "id": "7", "subject": "8"}, "text", {}),
        ({"text": "a b", "input": None, "index": 3}, {"text": "a b"}, "text", {}),
        ({"question": "a", "answer": "b", "paraphrased_question": "c", "paraphrased_answer": "d",
          "perturbed_answer": ["e"]},
         {"prompt": "a", "completion": "b", "paraphrases": ["c"], "paraphrased_answer": "d", "wrong": ["e"]},
         "question and answer",
         {"question": "prompt", "answer": "completion", "paraphrased_question": "paraphrases",
          "perturbed_answer": "wrong"}),
    ],
)  # fmt: skip
def test_a_known_shape_is_translated_and_reported(
    row: dict[str, Any], record: dict[str, Any], shape: str, fields: dict[str, str]
) -> None:
    records, interpretation = read("a.jsonl", json.dumps(row))
    assert records == [record]
    assert (interpretation.shapes, interpretation.fields) == ([shape], fields)


def test_unused_fields_are_reported_by_name() -> None:
    lines = [
        {"text": "a b", "__index_level_0__": 1},
        {"messages": [USER, {**ANSWER, "weight": 1}]},
        {"messages": [{"role": "human", "content": "a"}, ANSWER]},
    ]
    _, interpretation = read("a.jsonl", "\n".join(map(json.dumps, lines)))
    assert interpretation.ignored == ["__index_level_0__", "weight"]
    assert (interpretation.roles, interpretation.shapes) == ({"human": "user"}, ["text", "messages"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [{"role": "user", "contnet": "SECRET"}, ANSWER]},
         "messages.0: a key is not known; a message has: role, content (or: from, value)"),
        ({"messages": [USER, {"role": "SECRET", "content": "b"}]}, "messages.1.role: not known; known are: system"),
        ({"messages": [{"role": "tool", "content": "SECRET"}, ANSWER]}, "messages.0: the role 'tool' is not under"),
        ({"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "SECRET"}]}]},
         "messages.1: 'tool_calls' is not understood"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "messages.1: 'content' is missing or null"),
        ({"messages": [USER, {**ANSWER, "weight": 0}]}, "messages.1: weight 0 takes the last turn out of training"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "SECRET"}]}, ANSWER]},
         "messages.0.content: a part of type 'image_url' is not understood"),
        ({"messages": [{"role": "user", "content": [{"type": "SECRET"}]}, ANSWER]},
         "messages.0.content: a part is not {'type': 'text'"),
        ({"messages": [USER, ANSWER], "tools": ["SECRET"]}, "'tools' is not understood"),
        ({"messages": "SECRET"}, "messages: not a list"),
        ({"messages": [USER]}, "messages end with the assistant's turn"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "messages end with the assistant's turn"),
        ({"question": "SECRET", "answer": None}, "'answer' is missing or empty beside 'question'"),
        ({"text": "SECRET", "content": "b"}, "fields of 'text' and of 'content': keep those of one shape"),
        ({"instruction": "a", "output": "b", "text": "c"}, "fields of 'text' and of 'Alpaca': keep those of one"),
        ({"text": "a", "Text": "b"}, "'text' is there twice"),
        ({"text": "a", "id": 1.5}, "id: Input should be a valid string"),
        ({"text": "a", "id": float("inf")}, "id: Input should be a valid string"),
        ({"text": "a", "id": True}, "id: Input should be a valid string"),
        ({"text": "a", "index": "SECRET"}, "index does not hold row numbers"),
        ({"question": "a", "answer": "b", "SECRET": "c"}, "a field is not known; a record has: text, prompt"),
    ],
)  # fmt: skip
def test_an_unknown_record_is_refused_without_its_text(row: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRecord) as refused:
        read("a.jsonl", '{"text": "fine"}\n' + json.dumps(row))
    assert str(refused.value).startswith(f"line 2: {message}")
    assert "SECRET" not in str(refused.value)


def test_the_message_about_an_unknown_field_lists_the_fields_of_every_shape() -> None:
    with pytest.raises(BadRecord) as refused:
        read("a.jsonl", '{"SECRET": 1}')
    assert all(name in refused.value.reason for shape in SHAPES for name in shape.all())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "text": "b"}', "the key 'text' is there twice in one object"),
        ('{"SECRET": "a", "SECRET": "b"}', "a key is there twice in one object"),
        ('{"messages": [{"role": "user", "role": "user", "content": "a"}]}', "the key 'role' is there twice"),
    ],
)
def test_a_repeated_key_is_refused_by_line(line: str, message: str) -> None:
    with pytest.raises(BadRecord) as refused:
        read("a.jsonl", '{"text": "fine"}\n' + line)
    assert str(refused.value).startswith(f"line 2: {message}")


def test_every_shape_of_the_table_makes_a_record_of_the_fields_that_it_names() -> None:
    for shape in SHAPES:
        row = {name: [USER, ANSWER] if field == "messages" else "a b" for name, field in shape.fields.items()}
        records, interpretation = read("a.jsonl", json.dumps(row))
        assert interpretation.shapes == [shape.name]
        assert set(shape.fields.values()) == set(records[0]) <= set(Record.model_fields)


NAMES = st.sampled_from(
    sorted(KNOWN_FIELDS | INDEX_FIELDS | {"role", "content", "from", "value", "type", "weight", "tools", "SECRET"})
)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 7, 1.5, float("inf"), float("nan"), "", "SECRET", "user", "assistant", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(row=st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_object_becomes_a_record_or_is_refused_without_its_text(row: dict[str, Any]) -> None:
    try:
        records, _ = read("a.jsonl", json.dumps(row))
    except BadRecord as bad:
        refusal = str(bad)
    else:
        refusal = f"{len(records)} record"
    assert refusal.startswith(("line 1: ", "1 record"))
    assert "SECRET" not in refusal
