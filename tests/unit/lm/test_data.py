import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import BoolTensor, LongTensor

from core.lm.data import Chunk, encode, micro_batches, pad
from core.lm.errors import CoreError
from core.schema.record import Message, Record
from tests.unit.lm.tiny import BOS, EOS, records, tiny_tokenizer

CHATML = (
    "{% for m in messages %}{{ '<bos> ' + m['role'] + ' ' + m['content'] + ' <eos> w93 ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<bos> assistant ' }}{% endif %}"
)


def encode_one(record, *, tokenizer=None, chat="raw", max_length=64):
    (chunk,) = encode([record], tokenizer or tiny_tokenizer(), max_length=max_length, chat=chat)
    return chunk


def test_every_token_of_a_text_but_the_first_is_scored():
    chunk = encode_one(Record(text="w0 w1 w2"))
    assert chunk.ids.tolist() == [BOS, 3, 4, 5]
    assert chunk.scored.tolist() == [False, True, True, True]
    bare = encode_one(Record(text="w0 w1 w2"), tokenizer=tiny_tokenizer("$A"))
    assert bare.ids.tolist() == [3, 4, 5]
    assert bare.scored.tolist() == [False, True, True]


@pytest.mark.parametrize("single", ["<bos> $A <eos>", "$A <eos>"])
def test_a_text_gets_no_end_token_even_where_the_tokenizer_adds_one(single):
    assert encode_one(Record(text="w0 w1 w2"), tokenizer=tiny_tokenizer(single)).ids.tolist()[-1] == 5
    assert encode_one(Record(text="w0 w1 <eos>"), tokenizer=tiny_tokenizer(single)).ids.tolist()[-2:] == [4, EOS]


def test_a_completion_and_its_end_are_scored_and_its_prompt_is_not():
    chunk = encode_one(Record(prompt="w0 w1", completion="w2 w3"), tokenizer=tiny_tokenizer("<bos> $A <eos>"))
    assert chunk.ids.tolist() == [BOS, 3, 4, 5, 6, EOS]
    assert chunk.scored.tolist() == [False, False, False, True, True, True]


def test_the_first_token_is_never_scored_even_where_the_prompt_is_empty():
    chunk = encode_one(Record(prompt="", completion="w2 w3"), tokenizer=tiny_tokenizer("$A"))
    assert chunk.ids.tolist() == [5, 6, EOS]
    assert chunk.scored.tolist() == [False, True, True]


def test_the_last_turn_of_messages_is_scored():
    turns = [
        Message(role="user", content="w0"),
        Message(role="assistant", content="w1"),
        Message(role="user", content="w2"),
        Message(role="assistant", content="w3 w4"),
    ]
    chunk = encode_one(Record(messages=turns))
    assert chunk.ids.tolist() == [BOS, 3, 4, 5, 6, 7, EOS]
    assert chunk.scored.tolist() == [False] * 4 + [True] * 3


def test_an_answer_by_chat_template_is_scored_up_to_the_end_of_its_turn():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML
    record = Record(messages=[Message(role="user", content="w0"), Message(role="assistant", content="w3 w4")])
    chunk = encode_one(record, tokenizer=tokenizer, chat="template")
    scored = chunk.ids[chunk.scored].tolist()
    assert scored[:3] == [6, 7, EOS]
    assert chunk.ids.tolist().count(BOS) == 2, "the template writes the beginnings; the tokenizer must not add another"


def test_a_template_that_is_missing_or_rewrites_earlier_turns_is_refused():
    tokenizer = tiny_tokenizer()
    record = Record(messages=[Message(role="user", content="w0"), Message(role="assistant", content="w3")])
    with pytest.raises(CoreError, match="no_chat_template"):
        encode([record], tokenizer, max_length=64, chat="template")
    tokenizer.chat_template = "{{ messages | length }} {% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(CoreError, match="bad_chat_template"):
        encode([record], tokenizer, max_length=64, chat="template")


@pytest.mark.parametrize(
    ("template", "as_chosen"),
    [
        (CHATML, "template"),
        (None, "raw"),
    ],
)
def test_messages_are_read_by_the_template_where_there_is_one(template, as_chosen):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    record = Record(messages=[Message(role="user", content="w0"), Message(role="assistant", content="w3 w4")])
    chunk, expected = (encode_one(record, tokenizer=tokenizer, chat=chat) for chat in ("auto", as_chosen))
    assert chunk.ids.tolist() == expected.ids.tolist()
    assert chunk.scored.tolist() == expected.scored.tolist()


@pytest.mark.parametrize("chat", ["auto", "template"])
def test_a_template_that_refuses_a_record_is_an_error_without_the_records_text(chat):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ raise_exception(messages[0]['content']) }}"
    record = Record(messages=[Message(role="user", content="w7"), Message(role="assistant", content="w3")])
    with pytest.raises(CoreError, match="bad_chat_template") as refused:
        encode([record], tokenizer, max_length=64, chat=chat)
    assert "w7" not in str(refused.value)
    assert encode_one(record, tokenizer=tokenizer, chat="raw").ids.tolist() == [BOS, 10, 6, EOS]


def test_a_record_without_a_scored_token_is_named_by_number_and_not_by_text():
    with pytest.raises(CoreError) as caught:
        encode([Record(text="w0 w1"), Record(text="w77")], tiny_tokenizer("$A"), max_length=64, chat="raw")
    assert caught.value.code == "no_scored_tokens"
    assert "record 2" in caught.value.message
    assert "w77" not in str(caught.value)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, 30), st.integers(1, 30), st.integers(2, 12))
def test_a_long_record_is_cut_so_that_each_scored_token_is_scored_once_and_has_context(prompt, completion, longest):
    record = Record(
        prompt=" ".join(f"w{n}" for n in range(prompt)), completion=" ".join(f"w{40 + n}" for n in range(completion))
    )
    chunks = encode([record], tiny_tokenizer(), max_length=longest, chat="raw")
    scored = [int(token) for chunk in chunks for token in chunk.ids[chunk.scored]]
    assert scored == [43 + n for n in range(completion)] + [EOS]
    assert all(len(chunk.ids) <= longest and not chunk.scored[0] and chunk.scored.any() for chunk in chunks)


def test_padding_is_on_the_right_and_never_scored():
    chunks = encode(records(5, seed=1), tiny_tokenizer(), max_length=64, chat="raw")
    batch = pad(chunks, pad_id=9)
    for row, chunk in enumerate(chunks):
        size = len(chunk.ids)
        assert batch.ids[row, :size].equal(chunk.ids)
        assert batch.ids[row, size:].eq(9).all()
        assert batch.attention[row].tolist() == [True] * size + [False] * (batch.ids.shape[1] - size)
        assert batch.scored[row, :size].equal(chunk.scored)
        assert not batch.scored[row, size:].any()
    assert batch.record.tolist() == [chunk.record for chunk in chunks]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=40), st.integers(2, 100))
def test_micro_batches_hold_every_chunk_once_within_the_limit(lengths, limit):
    chunks = [
        Chunk(LongTensor(torch.zeros(size, dtype=torch.long)), BoolTensor(torch.ones(size, dtype=torch.bool)), number)
        for number, size in enumerate(lengths)
    ]
    batches = micro_batches(chunks, limit)
    assert sorted(chunk.record for batch in batches for chunk in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(len(chunk.ids) for chunk in batch) <= limit


def test_micro_batches_put_like_lengths_together():
    sizes = [40, 2, 39, 3] * 5
    chunks = [
        Chunk(LongTensor(torch.zeros(size, dtype=torch.long)), BoolTensor(torch.ones(size, dtype=torch.bool)), 0)
        for size in sizes
    ]
    padded = sum(len(batch) * max(len(chunk.ids) for chunk in batch) for batch in micro_batches(chunks, 400))
    assert padded <= 1.05 * sum(sizes)


def test_a_completion_without_a_token_to_end_it_is_an_error_and_a_text_is_not():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(CoreError, match="no_end_token"):
        encode_one(Record(prompt="w0", completion="w1 w2"), tokenizer=tokenizer)
    assert encode_one(Record(text="w0 w1"), tokenizer=tokenizer).ids.tolist() == [BOS, 3, 4]
