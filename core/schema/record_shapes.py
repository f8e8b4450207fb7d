"""The known shapes of records, as teams have them: one entry a shape. To know another one, add an entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from core.schema.chat_turns import normalize_turns
from core.schema.file_interpretation import FileInterpretation
from core.schema.record import Record


@dataclass(frozen=True)
class Shape:
    """A shape's fields and those of Record that they are read as, all of `fields` being needed.

    Where several are read as the prompt, they stand there in this order, a blank line between them.
    """

    name: str
    fields: Mapping[str, str]
    optional: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    def all(self) -> dict[str, str]:
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
"""Names of a data frame's index: ignored where they hold row numbers."""
_SHAPED = frozenset({"text", "prompt", "completion", "messages"})
_BESIDE = frozenset(RECORD_FIELDS) - _SHAPED
_NAMES = ("id", "subject", "group")

LIST_FIELDS = frozenset({"paraphrases", "wrong"}) | {
    name for shape in SHAPES for name, ours in shape.all().items() if ours in ("messages", "paraphrases", "wrong")
}
"""Fields that hold lists: as JSON in a CSV cell."""
TEXT_FIELDS = frozenset(
    name for shape in SHAPES for name, ours in shape.all().items() if ours in ("text", "prompt", "completion", "system")
)
KNOWN_FIELDS = _BESIDE | LIST_FIELDS | TEXT_FIELDS | {name for shape in SHAPES for name in shape.ignored}
REFUSED_FIELDS = frozenset(
    {"tools", "functions", "tool_choice", "parallel_tool_calls", "function_call", "chosen", "rejected"}
)
"""Fields of known shapes that change what a record says, and have no place in ours."""


def normalize_record(values: Any, interpretation: FileInterpretation) -> dict[str, Any]:
    """The values of a Record, of a text or an object in any known shape. ValueError with a reason without its text."""
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
    present = {name: value for name, value in named.items() if not _is_nothing(value)}
    for name in INDEX_FIELDS & present.keys():
        if not _is_row_number(present.pop(name)):
            raise ValueError(f"{_index(name)} does not hold row numbers: rename it to a record's field, or remove it")
        interpretation.ignore(_index(name))
    shape = _shape_of(frozenset(present))
    record = {name: present.pop(name) for name in _BESIDE & present.keys()} if shape else present
    if shape is None:
        return record
    interpretation.add_shape(shape.name)
    for name, ours in shape.all().items():
        if name in present:
            if ours == "system":
                interpretation.fields[name] = "messages"
            elif name != ours:
                interpretation.fields[name] = ours
            _put(record, ours, present[name], interpretation)
    for name in shape.ignored & present.keys():
        interpretation.ignore(name)
    for name in _NAMES:
        if name in record:
            record[name] = _as_text(record[name])
    _put_system_first(record)
    return record


@lru_cache(maxsize=256)
def _shape_of(names: frozenset[str]) -> Shape | None:
    """The shape of an object with these fields. None where all are a record's own, and it says what is wrong."""
    begun = [shape for shape in SHAPES if shape.fields.keys() <= names]
    whole = [shape for shape in begun if names <= shape.all().keys() | _BESIDE | shape.ignored]
    if len(whole) == 1:
        return whole[0]
    if names <= set(RECORD_FIELDS):
        return None
    if refused := sorted(names & REFUSED_FIELDS):
        raise ValueError(f"'{refused[0]}' is not understood: remove it, and the records that need it")
    if len(begun) > 1 and names <= KNOWN_FIELDS:
        several = " and of ".join(f"'{shape.name}'" for shape in begun)
        raise ValueError(f"fields of {several}: keep those of one shape")
    if not begun and names <= KNOWN_FIELDS:
        for shape in SHAPES:
            if shape.fields.keys() & names:
                missing = ", ".join(f"'{name}'" for name in shape.fields.keys() - names)
                stands = ", ".join(f"'{name}'" for name in shape.fields.keys() & names)
                raise ValueError(f"{missing} is missing or empty beside {stands}")
    raise ValueError(f"a field is not known; {describe_known_fields()}")


def describe_known_fields() -> str:
    """What a record may have, for a message about one that has something else."""
    foreign = [shape for shape in SHAPES if not shape.fields.keys() <= set(RECORD_FIELDS)]
    others = "; ".join(", ".join(shape.all()) for shape in foreign)
    return f"a record has: {', '.join(RECORD_FIELDS)}; or the fields of a known shape: {others}"


def _is_nothing(value: Any) -> bool:
    return value is None or value != value  # NaN, which a data frame has for nothing


def _is_row_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, int) and not isinstance(value, bool)


def _index(name: str) -> str:
    return name or "the unnamed column"


def _put(record: dict[str, Any], ours: str, value: Any, interpretation: FileInterpretation) -> None:
    if ours == "messages":
        record[ours] = normalize_turns(value, interpretation)
    elif ours in ("paraphrases", "wrong"):
        record[ours] = [value] if isinstance(value, str) else value
    elif ours == "prompt" and isinstance(record.get(ours), str) and isinstance(value, str):
        record[ours] = f"{record[ours]}\n\n{value}" if value.strip() else record[ours]
    else:
        record[ours] = value


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
