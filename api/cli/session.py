"""Commands that speak to the service: their common options, their output for people or programs, and how they end."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType

from api.cli.connection import connect
from api.cli.data_folder import DEFAULT_DATA, DataOption
from api.cli.exit_codes import REFUSED, exit_code
from api.cli.output import JsonOption, end_with_error, json_text, output_width
from api.client import NoAnswer, ServiceError, UnlearningClient, UnlearningError
from core.schema.pages import Page

P = ParamSpec("P")

ServerOption = Annotated[
    str | None,
    typer.Option("--server", envvar="UNLEARN_URL", help="The service's address; default: the data folder's service."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="UNLEARN_KEY",
        show_envvar=True,
        help="An API key; default: the data folder's. Other users of the machine can read options.",
    ),
]


def _common(data: DataOption = DEFAULT_DATA, server: ServerOption = None, key: KeyOption = None) -> None:
    """Carries the options of every command that speaks to the service."""


class Session:
    """One run of a command: its client, and its output."""

    def __init__(self, client: UnlearningClient, *, as_json: bool) -> None:
        self.client = client
        self.as_json = as_json
        self.out = Console(highlight=False, width=output_width())
        self.err = Console(stderr=True, highlight=False, quiet=as_json)
        """For progress and notes, which are not the command's result."""

    def show(self, document: BaseModel | Mapping[str, Any], *texts: RenderableType) -> None:
        """Prints the result: the document for programs, the texts for people."""
        if self.as_json:
            typer.echo(json_text(document))
            return
        for text in texts:
            self.out.print(text, soft_wrap=isinstance(text, str), markup=False)

    def show_page(self, page: Page[Any], listing: RenderableType) -> None:
        """Prints a page of a list, and for people how to see the next one."""
        self.show(page, listing)
        if page.has_more:
            self.note(f"there are more: --after {page.last_id}")

    def say(self, line: str) -> None:
        """Prints a part of the result for people, before the whole is there."""
        if not self.as_json:
            self.out.print(line, markup=False, soft_wrap=True)

    def note(self, line: str) -> None:
        """Prints a line for people that is not part of the result."""
        self.err.print(line, markup=False, soft_wrap=True)

    def fail(self, message: str, code: int = REFUSED) -> NoReturn:
        """Ends the command with the message."""
        end_with_error(message, code, as_json=self.as_json)


def service_command(
    command: Callable[Concatenate[Session, P], None] | None = None, *, releases: bool = False
) -> Callable[..., Any]:
    """Decorates a command that speaks to the service: adds the common options, and gives it a session.

    Errors of the client end the command with their exit codes. `releases`: the data folder's release key is used.
    """
    if command is None:
        return functools.partial(service_command, releases=releases)

    @functools.wraps(command)
    def run(*arguments: Any, data: Path, server: str | None, key: str | None, as_json: bool, **options: Any) -> None:
        with _session(data, server, key, as_json=as_json, releases=releases) as session:
            command(session, *arguments, **options)

    own = list(inspect.signature(command).parameters.values())[1:]
    common = list(inspect.signature(_common).parameters.values())
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)
    parameters = [*own, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in common), as_json]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@contextmanager
def _session(data: Path, server: str | None, key: str | None, *, as_json: bool, releases: bool) -> Iterator[Session]:
    try:
        with connect(data, server=server, key=key, releases=releases) as client:
            yield Session(client, as_json=as_json)
    except NoAnswer as failure:
        end_with_error(f"{failure}: is it running?", exit_code(failure), as_json=as_json)
    except ServiceError as refused:
        fields = {
            "status": refused.status,
            "problem": refused.problem,
            "errors": [{"pointer": fault.pointer, "detail": fault.detail} for fault in refused.errors],
            "request_id": refused.request_id,
        }
        end_with_error(str(refused), exit_code(refused), as_json=as_json, prefix="refused: ", **fields)
    except UnlearningError as error:
        end_with_error(str(error), exit_code(error), as_json=as_json)
    except OSError as failure:
        reason = failure.strerror or type(failure).__name__
        end_with_error(f"{failure.filename or 'a file'}: {reason}", REFUSED, as_json=as_json)
