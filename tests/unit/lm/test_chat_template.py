"""Chat templates render as transformers renders them, and refuse without quoting the record."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from jinja2 import TemplateError

from core.lm.chat_template import ChatTemplate, Refusal, Turn, template_in
from tests.chat_templates import CHATML, HEADERS, SHAPES
from tests.unit.lm.tiny import tiny_tokenizer

SYSTEM: Turn = {"role": "system", "content": "Be brief."}
QUESTION: Turn = {"role": "user", "content": " Where is it? "}
ANSWER: Turn = {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nIn Pell."}
CONVERSATIONS: list[list[Turn]] = [
    [QUESTION],
    [QUESTION, ANSWER],
    [SYSTEM, QUESTION, ANSWER],
    [QUESTION, ANSWER, QUESTION, ANSWER],
    [ANSWER],
    [QUESTION, QUESTION, ANSWER],
]


def outcome(render: Callable[[], str]) -> str:
    """Returns the text, or the refusal's reason."""
    try:
        return render()
    except TemplateError as error:
        return f'refuses it ("{error.message}")'
    except Refusal as refusal:
        return refusal.reason


@pytest.mark.parametrize("name", SHAPES)
def test_a_conversation_is_rendered_as_transformers_renders_it(name: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = SHAPES[name].source
    template = ChatTemplate(SHAPES[name].source, tokenizer.special_tokens_map)
    theirs = partial(tokenizer.apply_chat_template, tokenize=False)
    for turns in CONVERSATIONS:
        for prompt in (False, True):
            expected = outcome(partial(theirs, turns, add_generation_prompt=prompt))
            assert outcome(partial(template.render, turns, generation_prompt=prompt)) == expected


def rendered(source: str, *turns: Turn) -> str:
    return ChatTemplate(source, {}).render(turns or [QUESTION])


@pytest.mark.parametrize(
    "source",
    [
        "{{ {'b': 'é<', 'a': [1]} | tojson }}",
        "{% set n = namespace(self=1) %}{% set n.self = n.self + 1 %}{{ n.self }}",
        "{{ dict(a=1) }}{{ dict.fromkeys('ab', 1) }}",
        "{% for n in range(9) %}{% if n == 2 %}{% continue %}{% elif n > 4 %}{% break %}{% endif %}{{ n }}{% endfor %}",
        "{% for m in messages %}\n {%- generation -%}{{ m.role }}{% set x = 1 %}{% endgeneration %}{{ x }}{% endfor %}",
        "{{ tools is none }}{{ documents is none }}{{ bos_token }}{{ strftime_now('%Y-%m-%d') }}",
    ],
)
def test_a_template_has_the_variables_and_functions_of_transformers(source: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = source
    expected = tokenizer.apply_chat_template([QUESTION], tokenize=False)
    assert ChatTemplate(source, tokenizer.special_tokens_map).render([QUESTION]) == expected


def reason(source: str, *turns: Turn) -> str:
    with pytest.raises(Refusal) as refused:
        rendered(source, *turns)
    return refused.value.reason


def test_a_refusal_quotes_the_templates_own_words_and_none_of_the_records() -> None:
    turn = {"role": "user", "content": "Zubrimoth"}
    assert reason("{{ raise_exception('Only one turn, please') }}", turn) == 'refuses it ("Only one turn, please")'
    assert reason("{{ raise_exception(messages[0]['content']) }}", turn) == "refuses it"
    partly = reason("{{ raise_exception('Do not ever say: ' + messages[0]['content']) }}", turn)
    assert partly == 'refuses it ("Do not ever say: …")'
    assert reason("{{ messages[0]['content'].nothing() }}", turn) == "fails on it (UndefinedError)"
    assert reason("{{ 1 + messages[0]['content'] }}", turn) == "fails on it (TypeError)"
    assert reason("{% for m in messages %}", turn) == "is not valid Jinja (line 1)"


def test_a_template_cannot_leave_the_sandbox() -> None:
    assert "SecurityError" in reason("{{ ''.__class__.__mro__ }}{{ messages.__class__() }}")
    assert "SecurityError" in reason("{% set n = namespace(_x=1) %}")
    assert "SecurityError" in reason("{{ messages.append(1) }}")


def test_the_date_stands_still_within_a_process() -> None:
    assert rendered("{{ strftime_now('%f') }}") == rendered("{{ strftime_now('%f') }}")
    assert "Today: " in rendered(HEADERS.source)


def test_a_directorys_template_is_found_where_transformers_finds_it(tmp_path: Path) -> None:
    def settings(**fields: object) -> None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(fields))

    def source() -> str | None:
        template = template_in(tmp_path)
        return template.source if template else None

    assert source() is None
    settings(eos_token={"content": "</s>"}, bos_token="<s>", chat_template=CHATML.source)
    template = template_in(tmp_path)
    assert template is not None
    special = template.special
    assert (template.source, special["eos_token"], special["bos_token"]) == (CHATML.source, "</s>", "<s>")
    settings(chat_template=[{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}])
    assert source() == "b"
    settings(chat_template=[{"name": "tool_use", "template": "a"}])
    assert source() is None
    (tmp_path / "chat_templates").mkdir()
    (tmp_path / "chat_templates" / "default.jinja").write_text("c")
    assert source() == "c"
    (tmp_path / "chat_template.jinja").write_text("d")
    assert source() == "d"
