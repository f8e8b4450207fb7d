"""Generated sections of Markdown pages: a program writes the text between two marks, people write the rest."""

from collections.abc import Sequence
from pathlib import Path

import typer


def require_section(file: Path, name: str) -> None:
    """Raises BadParameter if the Markdown file has no section of this name."""
    begin, end = _marks(name)
    page = file.read_text()
    if begin not in page or end not in page:
        raise typer.BadParameter(f"{file} has no {begin} … {end}")


def replace_section(file: Path, name: str, text: str) -> None:
    """Replaces the text between `<!-- name -->` and `<!-- /name -->` in a Markdown file. BadParameter without them."""
    require_section(file, name)
    begin, end = _marks(name)
    page = file.read_text()
    before, rest = page.split(begin, 1)
    file.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def aligned_table(lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table of these rows, the head first, whose columns also line up as plain text.

    The first two columns hold words and are aligned left, the others hold figures and are aligned right.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *rows = (
        [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    rule = ["-" * width if column < 2 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))
