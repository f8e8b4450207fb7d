"""Where an answer begins and ends in a rendered conversation, for every shape of chat template."""

import pytest

from core.lm.answer_span import check_record, end_of_turn, render_record
from core.lm.chat_template import ChatTemplate, Refusal
from core.schema.record import Message, Record
from tests.chat_templates import CHATML, OPENED, SHAPES, THINKING, Shape


def conversation(*contents: str, system: str | None = None) -> Record:
    """Returns alternating turns of user and assistant, the last one the assistant's."""
    turns = [Message(role="system", content=system)] if system else []
    for place, content in enumerate(contents):
        turns.append(Message(role="assistant" if (len(contents) - place) % 2 else "user", content=content))
    return Record(messages=turns)


def template(shape: Shape | str) -> ChatTemplate:
    source = shape if isinstance(shape, str) else shape.source
    return ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"})


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "contents",
    [
        ("Where is it?", "In Pell."),
        ("think", "<thin", "Where?", "a"),  # found in headers and ends, too
        ("Hi.", "end", "assistant", "assistant"),
        (" Where? ", " In  Pell. \n"),
        ("In Pell.", "In Pell."),
    ],
)
def test_the_answer_is_what_is_scored_and_its_end_is_the_templates_own(name: str, contents: tuple[str, ...]) -> None:
    shape = SHAPES[name]
    record = conversation(*contents)
    rendered = render_record(record, template(shape))
    turns = [message.model_dump() for message in record.messages or []]
    assert rendered.context + rendered.answer + rendered.after == template(shape).render(turns)
    assert rendered.answer.strip() == contents[-1].strip()
    assert end_of_turn(rendered.after, [*shape.special, *shape.added, "<s>", "</s>", "\n", "\n\n"]) == shape.end
    assert contents[-2].strip() in rendered.context
    assert not rendered.rewritten


def test_the_context_of_an_answer_alone_is_its_header() -> None:
    rendered = render_record(conversation("In Pell."), template(CHATML))
    assert rendered.context.endswith("<|im_start|>assistant\n")
    assert rendered.answer == "In Pell."
    assert render_record(conversation("In Pell."), template(OPENED)).context == "<s><|Assistant|>"


def test_an_empty_thought_is_context_and_a_thought_of_the_record_is_scored() -> None:
    empty = render_record(conversation("Where?", "In Pell."), template(THINKING))
    assert empty.context.endswith("assistant\n<think>\n\n</think>\n\n")
    thought = render_record(conversation("Where?", "<think>Hm.</think>In Pell."), template(THINKING))
    assert thought.context.endswith("assistant\n")
    assert thought.answer == "<think>\nHm.\n</think>\n\nIn Pell."
    earlier = render_record(
        conversation("Where?", "<think>Hm.</think>In Pell.", "When?", "In May."), template(THINKING)
    )
    assert "Hm." not in earlier.context
    assert (earlier.answer, earlier.rewritten) == ("In May.", True)


def test_a_thought_that_the_generation_prompt_opens_is_not_part_of_the_context() -> None:
    rendered = render_record(conversation("Where?", "In Pell."), template(OPENED))
    assert (rendered.context, rendered.answer) == ("<s><|User|>Where?<|Assistant|>", "In Pell.")


def test_a_question_that_the_template_leaves_out_is_reported_where_a_thought_is_opened_too() -> None:
    source = OPENED.source.replace("'<|User|>' + m['content']", "'<|User|>'")
    rendered = render_record(conversation("Where is it, and since when was it there?", "In Pell."), template(source))
    assert (rendered.context, rendered.rewritten) == ("<s><|User|><|Assistant|>", True)
    assert render_record(conversation(" ", "In Pell."), template(OPENED)).context == "<s><|User|> <|Assistant|>"


LAST = "{{ messages[-1]['content'] }}"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (OPENED.source, "leaves out or rewrites a part of the assistant's last turn"),
        ("{{ messages[0]['content'] }}", "leaves out or rewrites a part"),
        (LAST.replace("]['content']", "]['content'] | upper"), "leaves out or rewrites a part"),
        (LAST.replace("]['content']", "]['content'][:12]"), "leaves out or rewrites a part"),
        (
            "{{ messages | length }}{% for m in messages %} {{ m['content'] }}{% endfor %}",
            "writes earlier turns differ",
        ),
        (
            "{% for m in messages %}{% if not loop.last or loop.length > 1 %}{{ m['content'] }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ raise_exception('Nothing to go on') }}{% endif %}",
            'refuses it ("Nothing to go on")',
        ),
    ],
)
def test_an_answer_that_a_template_does_not_write_is_refused(source: str, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        render_record(conversation("Where?", "<think>\nHm.\n</think>\n\nIn Pell."), template(source))
    assert refused.value.reason.startswith(words)


def test_every_answer_that_a_record_names_is_tried() -> None:
    record = conversation("Where?", "In Pell.")
    assert check_record(record, template(OPENED)) is False
    for answers in ({"alternate": "<think>x</think>No."}, {"wrong": ["", "<think>x</think>No."]}):
        with pytest.raises(Refusal):
            check_record(record.model_copy(update=answers), template(OPENED))


def test_a_turn_that_the_template_leaves_out_is_reported() -> None:
    source = CHATML.source.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
    assert check_record(conversation("Where?", "In Pell.", system="Be brief."), template(source)) is True
    assert check_record(conversation("Where?", "In Pell.", system="Be brief."), template(CHATML)) is False


@pytest.mark.parametrize(
    ("after", "end"),
    [
        ("<|im_end|>\n", "<|im_end|>"),
        ("<|end|>\n<|endoftext|>", "<|end|>"),
        (" </s>\n", " </s>"),
        ("[[done]]\n<|endoftext|>", "[[done]]"),
        ("\n### Done\n\n", "\n### Done"),
        ("\n\n", ""),
        ("", ""),
    ],
)
def test_a_turn_has_one_end(after: str, end: str) -> None:
    tokens = ["<|im_end|>", "<|end|>", "<|endoftext|>", "</s>", "\n\n", " "]
    assert end_of_turn(after, tokens) == end
