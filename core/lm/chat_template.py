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
"""Characters of the shortest part of a message that is shown without the rest."""


class Refusal(Exception):
    """A template cannot write a conversation. `reason` continues "the chat template …", without a record's text."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Raised(TemplateError):
    """The template called `raise_exception`."""


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template."""

    source: str
    special: Mapping[str, str]  # tokens that the source may name, such as `bos_token`

    @property
    def day(self) -> str | None:
        """The day that the template writes; None: it writes no date."""
        return f"{_now():%Y-%m-%d}" if "strftime_now" in self.source else None

    def render(self, turns: Sequence[Turn], *, generation_prompt: bool = False) -> str:
        """Renders the conversation as `apply_chat_template(turns, tokenize=False)` does. Raises Refusal.

        `strftime_now` keeps the time of the process's first rendering, so that a record reads the same before and after
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
            raise Refusal(f"refuses it{_quoted(error.message or '', self.source)}") from None
        except TemplateSyntaxError as error:
            raise Refusal(f"is not valid Jinja (line {error.lineno})") from None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a template is a program, and may fail in any way
            raise Refusal(f"fails on it ({type(error).__name__})") from None


def template_in(directory: Path) -> ChatTemplate | None:
    """Reads the template of a model directory, from the files that transformers reads; None where there is none.

    A template file overrides `tokenizer_config.json`; of several templates the one named `default` is read. Special
    tokens that no file names are empty: a tokenizer's class may know more. Raises OSError, ValueError.
    """
    settings = _json(directory / "tokenizer_config.json")
    templates = settings.get("chat_template")
    if isinstance(templates, list):
        named = [entry for entry in templates if isinstance(entry, dict) and {"name", "template"} <= entry.keys()]
        templates = {entry["name"]: entry["template"] for entry in named}
    files = {file.stem: file for file in sorted((directory / "chat_templates").glob("*.jinja"))}
    if (file := directory / "chat_template.jinja").is_file():
        files["default"] = file
    if files:
        templates = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
    source = templates.get("default") if isinstance(templates, dict) else templates
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


def _quoted(message: str, source: str) -> str:
    """Quotes the part of a message that the template's source contains: the rest may be the record's text."""
    constants = _constants(source)
    if message in constants:
        return f' ("{message}")'
    parts = [text.strip() for text in constants if len(text.strip()) >= _SHORTEST and text.strip() in message]
    return f' ("{max(parts, key=len)} …")' if parts else ""


@lru_cache(maxsize=64)
def _constants(source: str) -> frozenset[str]:
    """Returns the texts in a template's own expressions."""
    constants = _environment().parse(source).find_all(nodes.Const)
    return frozenset(constant.value for constant in constants if isinstance(constant.value, str))


class _Generation(Extension):
    """The `{% generation %}` block, which marks the assistant's text: writes its content."""

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
    """Returns the environment of transformers/utils/chat_template_utils.py: settings, extensions, filters, globals."""

    def raise_exception(message: Any) -> None:
        raise _Raised(str(message))

    def strftime_now(form: str) -> str:
        return _now().strftime(form)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)
