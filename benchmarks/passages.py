"""Passages of plain texts: what pre-training taught a model, such as licences, founding documents and verses.

The texts lie in three folders, `forget`, `retain` and `unseen`, which a person fills: plain or gzipped files in UTF-8,
of any name. Nothing of them is shipped with the project.
"""

import gzip
import random
import re
from pathlib import Path

from core.schema.record import Record

FOLDERS = ("forget", "retain", "unseen")
SHORTEST, LONGEST = 40, 90
"""Words of a passage."""
_LETTERS = 0.9
"""The share of letters, spaces and sentence marks in prose; tables and code have fewer."""


def draw(folder: Path, count: int, seed: int) -> list[Record]:
    """Returns `count` passages of the folder's texts, or all where there are fewer, chosen by the seed.

    A passage's subject is the name of its file. Of equal passages there is one.
    """
    found = {
        text: Record(id=f"{file.name}-{number + 1}", subject=file.name, text=text)
        for file in sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
        for number, text in enumerate(cut(read_text(file)))
    }
    records = list(found.values())
    return random.Random(f"passages/{folder.name}/{seed}").sample(records, min(count, len(records)))


def read_text(file: Path) -> str:
    """Returns a file's text, unpacked where its name ends with .gz. Bytes that are not UTF-8 become spaces."""
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return content.decode("utf-8", errors="replace").replace("\ufffd", " ")


def cut(text: str) -> list[str]:
    """Returns the prose of a text as passages of SHORTEST to LONGEST words; each begins with a paragraph or sentence.

    Paragraphs end at blank lines. Neighbouring short ones are joined, and long ones are cut behind a sentence.
    """
    passages: list[str] = []
    gathered: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        if not _is_prose(paragraph):
            gathered = []
            continue
        for sentence in re.split(r"(?<=[.!?;:])\s+", " ".join(paragraph.split())):
            words = sentence.split()
            if len(gathered) + len(words) > LONGEST:
                gathered = []
            gathered += words
            if SHORTEST <= len(gathered) <= LONGEST:
                passages.append(" ".join(gathered))
                gathered = []
    return passages


def _is_prose(paragraph: str) -> bool:
    letters = sum(character.isalpha() or character.isspace() or character in ".,;:'\"()-" for character in paragraph)
    return letters >= _LETTERS * max(1, len(paragraph))
