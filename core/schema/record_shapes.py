"""The record shapes that teams use, one entry each, and their translation to `Record`. A new shape is a new entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from core.schema.chat_turns import normalize_turns
from core.schema.file_interpretation import FileInterpretation
from core.schema.record import Record


@dataclass(frozen=True)
class Shape:
    """A shape's fields, each with the field of Record that it is read as. All of `fields` are needed.

    Several fields that are read as the prompt are joined in this order, with a blank line between them.
    """

    name: str
    fields: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def all(self) -> dict[str, str]:
        """Returns the needed and the optional fields."""
        return {**self.fields, **self.optional}


SHAPES = (
    Shape("text", {"text": "text"}),
    Shape("prompt and completion", {"prompt": "prompt", "completion": "completion"}),
    Shape("messages", {"messages": "messages"}),
    Shape("ShareGPT", {"conversations": "messages"}, {"system": "system"}),
    Shape("ShareGPT", {"conversation": "messages"}, {"system": "system"}),
    Shape("prompt and response", {"prompt": "prompt", "response": "completion"}),
    Shape(
        "question and answer",
        {"question": "prompt", "answer": "completion"},
        {"paraphrased_question": "paraphrases", "perturbed_answer": "wrong"},
    ),
    Shape("question and response", {"question": "prompt", "response": "completion"}),
    Shape("query and answer", {"query": "prompt", "answer": "completion"}),
    Shape("query and response", {"query": "prompt", "response": "completion"}),
    Shape("Alpaca", {"instruction": "prompt", "output": "completion"}, {"input": "prompt"}),
    Shape(
        "Dolly",
        {"instruction": "prompt", "response": "completion"},
        {"context": "prompt"},
        frozenset({"category"}),
    ),
    Shape("input and output", {"input": "prompt", "output": "completion"}),
    Shape("content", {"content": "text"}),
    Shape("body", {"body": "text"}),
)

RECORD_FIELDS = tuple(Record.model_fields)
INDEX_FIELDS = frozenset({"", "index", "level_0", "unnamed: 0", "__index_level_0__"})
"""Names of a data frame's index, which is ignored where it holds row numbers."""
_SHAPE_FIELDS = frozenset({"text", "prompt", "completion", "messages"})
_EXTRA_FIELDS = frozenset(RECORD_FIELDS) - _SHAPE_FIELDS
_TEXT_OR_NUMBER_FIELDS = ("id", "subject", "group")

LIST_FIELDS = frozenset({"paraphrases", "wrong"}) | {
    name for shape in SHAPES for name, target in shape.all().items() if target in ("messages", "paraphrases", "wrong")
}
"""Fields that hold lists. In a CSV cell they are JSON."""
TEXT_FIELDS = frozenset(
    name
    for shape in SHAPES
    for name, target in shape.all().items()
    if target in ("text", "prompt", "completion", "system")
)
KNOWN_FIELDS = _EXTRA_FIELDS | LIST_FIELDS | TEXT_FIELDS | {name for shape in SHAPES for name in shape.ignored}
REFUSED_FIELDS = frozenset(
    {"tools", "functions", "tool_choice", "parallel_tool_calls", "function_call", "chosen", "rejected"}
)
"""Fields of known shapes that change a record's meaning and have no counterpart in Record."""


def normalize_record(values: Any, interpretation: FileInterpretation) -> dict[str, Any]:
    """Translates a text, or an object in any known shape, to the values of a Record. ValueError: why, without text."""
    if isinstance(values, str):
        values = {"text": values}
    if not isinstance(values, dict):
        raise ValueError("not an object")
    named: dict[str, Any] = {}
    for name, value in values.items():
        known = name.strip().lower()
        if known in named:
            raise ValueError(f"'{known}' is there twice" if known in KNOWN_FIELDS else "a field is there twice")
        named[known] = value
    present = {name: value for name, value in named.items() if not _is_missing(value)}
    for name in INDEX_FIELDS & present.keys():
        if not _is_row_number(present.pop(name)):
            raise ValueError(
                f"{_index_label(name)} does not hold row numbers: rename it to a record's field, or remove it"
            )
        interpretation.ignore(_index_label(name))
    shape = _shape_of(frozenset(present))
    record = {name: present.pop(name) for name in _EXTRA_FIELDS & present.keys()} if shape else present
    if shape is None:
        return record
    interpretation.add_shape(shape.name)
    for name, target in shape.all().items():
        if name in present:
            if target == "system":
                interpretation.fields[name] = "messages"
            elif name != target:
                interpretation.fields[name] = target
            _put(record, target, present[name], interpretation)
    for name in shape.ignored & present.keys():
        interpretation.ignore(name)
    for name in _TEXT_OR_NUMBER_FIELDS:
        if name in record:
            record[name] = _as_text(record[name])
    _put_system_first(record)
    return record


@lru_cache(maxsize=256)
def _shape_of(names: frozenset[str]) -> Shape | None:
    """Returns the shape of an object with these fields. None: all are Record's own; Record says what is wrong."""
    candidates = [shape for shape in SHAPES if shape.fields.keys() <= names]
    matches = [shape for shape in candidates if names <= shape.all().keys() | _EXTRA_FIELDS | shape.ignored]
    if len(matches) == 1:
        return matches[0]
    if names <= set(RECORD_FIELDS):
        return None
    if refused := sorted(names & REFUSED_FIELDS):
        raise ValueError(f"'{refused[0]}' is not understood: remove it, and the records that need it")
    if len(candidates) > 1 and names <= KNOWN_FIELDS:
        several = " and of ".join(f"'{shape.name}'" for shape in candidates)
        raise ValueError(f"fields of {several}: keep those of one shape")
    if not candidates and names <= KNOWN_FIELDS:
        for shape in SHAPES:
            if shape.fields.keys() & names:
                missing = ", ".join(f"'{name}'" for name in shape.fields.keys() - names)
                present = ", ".join(f"'{name}'" for name in shape.fields.keys() & names)
                raise ValueError(f"{missing} is missing or empty beside {present}")
    raise ValueError(f"a field is not known; {describe_known_fields()}")


def describe_known_fields() -> str:
    """Lists the fields that a record may have, for a message about an unknown field."""
    foreign = [shape for shape in SHAPES if not shape.fields.keys() <= set(RECORD_FIELDS)]
    others = "; ".join(", ".join(shape.all()) for shape in foreign)
    return f"a record has: {', '.join(RECORD_FIELDS)}; or the fields of a known shape: {others}"


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN stands for an empty cell of a data frame


def _is_row_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, int) and not isinstance(value, bool)


def _index_label(name: str) -> str:
    return name or "the unnamed column"


def _put(record: dict[str, Any], target: str, value: Any, interpretation: FileInterpretation) -> None:
    if target == "messages":
        record[target] = normalize_turns(value, interpretation)
    elif target in ("paraphrases", "wrong"):
        record[target] = [value] if isinstance(value, str) else value
    elif target == "prompt" and isinstance(record.get(target), str) and isinstance(value, str):
        record[target] = f"{record[target]}\n\n{value}" if value.strip() else record[target]
    else:
        record[target] = value


def _as_text(value: Any) -> Any:
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _put_system_first(record: dict[str, Any]) -> None:
    system = record.pop("system", None)
    if isinstance(system, str) and system.strip():
        record["messages"].insert(0, {"role": "system", "content": system})
    elif system is not None and not isinstance(system, str):
        raise ValueError("'system' is no text")
