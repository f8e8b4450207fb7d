"""Pages of figures: what stands between two marks belongs to a command, the rest to people."""

from collections.abc import Sequence
from pathlib import Path

import typer


def replace_section(file: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- name -->` and `<!-- /name -->` in a Markdown file."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = file.read_text()
    if begin not in whole or end not in whole:
        raise typer.BadParameter(f"{file} has no {begin} … {end}")
    before, rest = whole.split(begin, 1)
    file.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


def aligned_table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table of these rows, the head first, whose columns also line up as plain text.

    Two columns of words, then figures.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *rows = (
        [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    )
    rule = ["-" * width if at < 2 else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rows))
