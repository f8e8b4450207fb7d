"""Chat templates, run as transformers runs them (jinja2 in a sandbox), for processes that may not load transformers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

Turn = Mapping[str, str]
"""`role` and `content`, as a template reads them."""

SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_SHORTEST = 8
"""Characters of a part of a message that is worth showing without the rest."""


class Refusal(Exception):
    """A template cannot write a conversation. `reason` follows "the chat template"; it never holds a record's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Raised(TemplateError):
    """The template called `raise_exception`."""


@dataclass(frozen=True)
class ChatTemplate:
    """A template's source, and the special tokens that it may name, such as `bos_token`."""

    source: str
    special: Mapping[str, str]

    @property
    def day(self) -> str | None:
        """The day that the template writes; None where it writes none."""
        return f"{_now():%Y-%m-%d}" if "strftime_now" in self.source else None

    def render(self, turns: Sequence[Turn], *, generation_prompt: bool = False) -> str:
        """The conversation as text, as `apply_chat_template(turns, tokenize=False)` writes it. Raises Refusal.

        `strftime_now` stands still at the process's first rendering, so that a record reads the same before and after
        a job's training.
        """
        try:
            return _compiled(self.source).render(
                messages=[dict(turn) for turn in turns],
                tools=None,
                documents=None,
                add_generation_prompt=generation_prompt,
                **self.special,
            )
        except _Raised as error:
            raise Refusal(f"refuses it{_told(error.message or '', self.source)}") from None
        except TemplateSyntaxError as error:
            raise Refusal(f"is not valid Jinja (line {error.lineno})") from None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a template is a program, and may fail in any way
            raise Refusal(f"fails on it ({type(error).__name__})") from None


def template_in(directory: Path) -> ChatTemplate | None:
    """The template of a model directory, from where transformers reads it; None where there is none.

    Files of their own come before `tokenizer_config.json`; of several templates it is the one named `default`. Special
    tokens that no file names are empty: a tokenizer's class may know better. Raises OSError, ValueError.
    """
    settings = _json(directory / "tokenizer_config.json")
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = [one for one in found if isinstance(one, dict) and {"name", "template"} <= one.keys()]
        found = {one["name"]: one["template"] for one in named}
    files = {file.stem: file for file in sorted((directory / "chat_templates").glob("*.jinja"))}
    if (file := directory / "chat_template.jinja").is_file():
        files["default"] = file
    if files:
        found = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    source = found.get("default") if isinstance(found, dict) else found
    if not isinstance(source, str) or not source:
        return None
    settings = {**_json(directory / "special_tokens_map.json"), **settings}
    tokens = {name: _token(value) for name, value in settings.items() if name.endswith("_token")}
    special = {name: token for name, token in tokens.items() if token is not None}
    return ChatTemplate(source, dict.fromkeys(SPECIAL_TOKENS, "") | special)


def _json(file: Path) -> dict[str, Any]:
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _token(value: Any) -> str | None:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _told(message: str, source: str) -> str:
    """What of a message stands in the template itself, to be shown: the rest may be the record's text."""
    constants = _constants(source)
    if message in constants:
        return f' ("{message}")'
    parts = [text.strip() for text in constants if len(text.strip()) >= _SHORTEST and text.strip() in message]
    return f' ("{max(parts, key=len)} …")' if parts else ""


@lru_cache(maxsize=64)
def _constants(source: str) -> frozenset[str]:
    """The texts that a template's own expressions hold."""
    found = _environment().parse(source).find_all(nodes.Const)
    return frozenset(one.value for one in found if isinstance(one.value, str))


class _Generation(Extension):
    """`{% generation %}`: marks what an assistant says, and writes what is in it."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Dict:
    """`dict` without the attributes of a type."""

    def __call__(self, *pairs: Any, **named: Any) -> dict[Any, Any]:
        return dict(*pairs, **named)

    def fromkeys(self, *keys: Any) -> dict[Any, Any]:
        return dict.fromkeys(*keys)


class _Namespace(Namespace):
    """`namespace` without names that begin with an underscore, through which templates could leave the sandbox."""

    def __init__(*args: Any, **named: Any) -> None:
        self, *pairs = args  # so that a template may name a value `self`
        values = dict(*pairs, **named)
        for name in values:
            _public(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        super().__setitem__(name, value)


def _public(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError("a chat template cannot keep a value under a name that begins with an underscore")


@cache
def _now() -> datetime:
    return datetime.now()


@cache
def _environment() -> Environment:
    """As in transformers/utils/chat_template_utils.py: settings, extensions, filters and globals."""

    def raise_exception(message: Any) -> None:
        raise _Raised(str(message))

    def strftime_now(form: str) -> str:
        return _now().strftime(form)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    made.filters["tojson"] = tojson
    made.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return made


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)
