"""Pages of figures: what stands between two marks belongs to a command, the rest to people."""

from pathlib import Path

import typer


def put(file: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- name -->` and `<!-- /name -->` in a Markdown file."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    whole = file.read_text()
    if begin not in whole or end not in whole:
        raise typer.BadParameter(f"{file} has no {begin} … {end}")
    before, rest = whole.split(begin, 1)
    file.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")
