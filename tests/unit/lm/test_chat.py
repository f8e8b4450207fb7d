"""Messages become the tokens that the model has seen in its training: those of its chat template, and no others."""

import pytest

from core.lm.data import encode, tokenize_record, turn_end_token
from core.lm.errors import CoreError
from core.schema.record import Message, Record
from tests.chat_templates import CHATML, CLOSED, OPENED, PLAIN, SHAPES, SPELT, THINKING, UNFLAGGED
from tests.unit.lm.chat_tokenizers import END_OF_TEXT, chat_tokenizer

TURNS = [
    Message(role="user", content="Where is it?"),
    Message(role="assistant", content="In Pell."),
    Message(role="user", content="Where?"),
    Message(role="assistant", content="on the hill"),
]
CONVERSATION = Record(messages=TURNS)


def context_and_scored(record, tokenizer):
    """Returns the context and the scored part of a record, as text."""
    (chunk,) = encode([record], tokenizer, max_length=512, chat="auto")
    return tuple(tokenizer.decode(chunk.ids[mask]) for mask in (~chunk.scored, chunk.scored))


@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
@pytest.mark.parametrize("name", SHAPES)
def test_tokens_are_those_of_the_template_and_the_answer_is_scored_with_one_end(name, pieces):
    shape = SHAPES[name]
    tokenizer = chat_tokenizer(shape, pieces=pieces)
    turns = [message.model_dump() for message in TURNS]
    template_ids = tokenizer.apply_chat_template(turns)["input_ids"]
    (chunk,) = encode([CONVERSATION], tokenizer, max_length=512, chat="auto")
    ids = chunk.ids.tolist()
    if shape.end:
        assert ids == template_ids[: len(ids)]
    else:
        assert ids[:-1] == template_ids[: len(ids) - 1]
        assert ids[-1] == tokenizer.eos_token_id
    context, answer = context_and_scored(CONVERSATION, tokenizer)
    assert "Where?" in context
    assert answer.strip() == "on the hill" + (shape.end or "</s>")
    parts = tokenize_record(CONVERSATION, tokenizer, "template")
    assert parts.prompt + parts.scored == ids
    assert parts.scored == chunk.ids[chunk.scored].tolist()
    assert tokenizer.decode(parts.answer).strip() == "on the hill"


def test_a_token_that_reaches_into_the_answer_is_scored_with_the_space_before_it():
    tokenizer = chat_tokenizer(SHAPES["brackets"], pieces=True)
    (chunk,) = encode([CONVERSATION], tokenizer, max_length=512, chat="auto")
    first = int(chunk.scored.int().argmax())
    assert tokenizer.convert_ids_to_tokens(chunk.ids[first - 1 : first + 1].tolist()) == ["▁[/INST]", "▁on"]


@pytest.mark.parametrize("shape", [CHATML, UNFLAGGED, SPELT])
def test_no_end_of_text_is_scored_after_the_end_of_the_turn(shape):
    tokenizer = chat_tokenizer(shape, eos=END_OF_TEXT)
    assert context_and_scored(CONVERSATION, tokenizer)[1] == "on the hill" + shape.end


def test_an_end_of_text_that_closes_the_conversation_is_not_scored():
    assert context_and_scored(CONVERSATION, chat_tokenizer(CLOSED, eos=END_OF_TEXT))[1] == "on the hill<|end|>"


def test_where_the_template_writes_no_end_the_end_of_sequence_is_scored():
    tokenizer = chat_tokenizer(PLAIN, eos=END_OF_TEXT)
    assert context_and_scored(CONVERSATION, tokenizer)[1].lstrip() == "on the hill" + END_OF_TEXT
    tokenizer.eos_token = None
    with pytest.raises(CoreError, match="no_end_token"):
        context_and_scored(CONVERSATION, tokenizer)


def test_where_the_template_writes_an_end_the_tokenizer_need_not_name_one():
    tokenizer = chat_tokenizer(CHATML)
    tokenizer.eos_token = None
    assert context_and_scored(CONVERSATION, tokenizer)[1] == "on the hill<|im_end|>"


@pytest.mark.parametrize("shape", [CHATML, OPENED, THINKING])
def test_an_answer_alone_is_scored_without_its_header(shape):
    context, answer = context_and_scored(Record(messages=TURNS[-1:]), chat_tokenizer(shape))
    assert answer == "on the hill" + shape.end
    assert "ssistant" in context


def test_messages_are_read_by_the_template_although_its_generation_prompt_opens_a_thought():
    context, answer = context_and_scored(CONVERSATION, chat_tokenizer(OPENED))
    assert context == "<s><|User|>Where is it?<|Assistant|>In Pell.</s><|User|>Where?<|Assistant|>"
    assert answer == "on the hill</s>"
    assert context_and_scored(CONVERSATION, chat_tokenizer(THINKING))[1] == "on the hill<|im_end|>"


def test_one_refused_record_refuses_all_records_instead_of_being_read_raw():
    tokenizer = chat_tokenizer(SHAPES["model_role"])
    system = Message(role="system", content="Be brief.")
    with pytest.raises(CoreError, match="No system turn, please") as refused:
        encode([CONVERSATION, Record(messages=[system, *TURNS])], tokenizer, max_length=512, chat="auto")
    assert refused.value.code == "bad_chat_template"
    assert len(encode([CONVERSATION, Record(messages=[system, *TURNS])], tokenizer, max_length=512, chat="raw")) == 2


def test_the_token_that_ends_a_turn_is_known():
    assert turn_end_token(chat_tokenizer(CHATML)) == chat_tokenizer(CHATML).convert_tokens_to_ids("<|im_end|>")
    assert turn_end_token(chat_tokenizer(UNFLAGGED)) == chat_tokenizer(UNFLAGGED).convert_tokens_to_ids("<|im_end|>")
    assert turn_end_token(chat_tokenizer(SPELT)) is None
    tokenizer = chat_tokenizer(CHATML)
    tokenizer.chat_template = None
    assert turn_end_token(tokenizer) is None
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    assert turn_end_token(tokenizer) is None
