"""JSON on the terminal, and the end of a command with an error."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document; an error is a JSON document on standard error.")
]


def end_with_error(message: str, code: int, *, as_json: bool, prefix: str = "", **fields: Any) -> NoReturn:
    """Prints the error to standard error, as text or as one JSON document, and ends the command."""
    if as_json:
        typer.echo(json_text({"error": {"message": message, **fields}, "exit_code": code}), err=True)
    else:
        err = Console(stderr=True, highlight=False)
        err.print(f"[red]{escape(prefix)}[/red]{escape(message)}", soft_wrap=True)
    raise typer.Exit(code)


def json_text(document: BaseModel | Mapping[str, Any]) -> str:
    """Returns the document as JSON, with the names that the API uses."""
    if isinstance(document, BaseModel):
        return document.model_dump_json(by_alias=True, indent=2)
    return json.dumps(document, indent=2, ensure_ascii=False)


def output_width() -> int | None:
    """Returns the columns of a table that is read by a program, such as grep: as many as it takes. None: a terminal."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000
