"""The parts of a document, which both HTML and PDF are written from. `kind` tells a template which part it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True)
class Code:
    """An identifier or a digest."""

    text: str
    kind: Literal["code"] = "code"


@dataclass(frozen=True)
class Badge:
    """A result in one or two words, with a note beside it."""

    text: str
    tone: Tone
    note: str = ""
    kind: Literal["badge"] = "badge"


Cell = str | Code | Badge


@dataclass(frozen=True)
class Paragraph:
    """A few sentences."""

    text: str
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Bullets:
    """Sentences that stand beside each other."""

    items: Sequence[str]
    kind: Literal["bullets"] = "bullets"


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, Cell]]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Table:
    """A table with a heading for each column."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Picture:
    """A drawing with the sentences that explain it."""

    svg: str
    alt: str
    caption: str
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Finding:
    """A question, its answer and the result."""

    name: str
    question: str
    answer: str
    result: Badge


@dataclass(frozen=True)
class Findings:
    """The results of some bounds."""

    findings: Sequence[Finding]
    kind: Literal["findings"] = "findings"


@dataclass(frozen=True)
class Command:
    """A way to check something, with the command that does it."""

    text: str
    command: str | None
    kind: Literal["command"] = "command"


Block = Paragraph | Bullets | Facts | Table | Picture | Findings | Command


@dataclass(frozen=True)
class Section:
    """A heading and the parts below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole document. `date` is the day on which its job ended, as year, month and day."""

    title: str
    subtitle: str
    footer: str
    date: tuple[int, int, int]
    sections: Sequence[Section]
