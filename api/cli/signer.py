"""`unlearn signer`: the process that holds the private keys, and what an operator does with them."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker

from api.cli.data_folder import DEFAULT_DATA, DataFolder, DataOption
from api.cli.exit_codes import REFUSED, WRONG_CALL
from api.cli.output import JsonOption, end_with_error, json_text
from core.embedded.errors import StackError
from core.embedded.postgres import SIGNER, Postgres
from core.records.engine import make_engine
from core.settings import settings
from core.signing.key_folder import KeyFolder, KeyMissing
from core.signing.signer import Signer

app = typer.Typer(help="Run the signer, and rotate or revoke its keys.", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)

T = TypeVar("T")

SILENT_SECONDS = 30.0
"""A signer that has given no sign of life for so long is not healthy."""
ADVICE = "run it where the signer runs: in the data folder of 'unlearn up' (--data), or with its settings"


@app.command("run")
def run() -> None:
    """Sign until SIGTERM: statements of jobs, and heads of audit logs. It reads its settings from the environment."""
    configured = settings()
    logging.basicConfig(level=configured.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    database_url, folder = configured.database_url.get_secret_value(), KeyFolder(configured.signing_dir)

    async def work(signer: Signer) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await signer.run(stop)

    try:
        asyncio.run(_with_signer(database_url, folder, work, head_seconds=configured.head_signing_seconds))
    except KeyMissing as missing:
        end_with_error(f"the signer ends: {missing}", REFUSED, as_json=False)


@app.command("rotate")
def rotate(data: DataOption = DEFAULT_DATA, as_json: JsonOption = False) -> None:
    """Make new keys. Signatures of the old keys stay valid; the old private keys are deleted."""
    ids = list(_on_keys(data, lambda signer: signer.rotate(), as_json=as_json))
    _show({"keys": ids}, [f"{id} signs from now on" for id in ids], as_json=as_json)


@app.command("revoke", context_settings={"ignore_unknown_options": True})  # a key's id may begin with "-"
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, as in /.well-known/jwks.json.")],
    reason: Annotated[str, typer.Option(help="Why, for everybody who checks a signature of the key.")],
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key: none of its signatures count from now on. What it signed is signed again with another key."""
    if not _on_keys(data, lambda signer: signer.revoke(key, reason=reason), as_json=as_json):
        end_with_error("there is no such key", REFUSED, as_json=as_json)
    _show({"revoked": key}, [f"{key} is revoked"], as_json=as_json)


@app.command("health")
def health(as_json: JsonOption = False) -> None:
    """Tell whether the signer on this machine, or in this container, works. Exit code 1: it does not."""
    seconds = KeyFolder(settings().signing_dir).seconds_since_alive()
    alive = seconds is not None and seconds <= SILENT_SECONDS
    document = {"alive": alive, "seconds_since_alive": seconds}
    _show(document, ["alive" if alive else "no sign of life from a signer"], as_json=as_json)
    if not alive:
        raise typer.Exit(REFUSED)


def _show(document: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json_text(document))
        return
    for line in lines:
        out.print(line)


def _on_keys(data: Path, step: Callable[[Signer], Awaitable[T]], *, as_json: bool) -> T:
    """Runs a step on the keys of the data folder's service, or of the service whose settings are set."""
    try:
        data_folder = DataFolder(data)
        if data_folder.running() is not None:
            database_url = os.environ.get("SIGNER_DATABASE_URL") or os.environ.get("DATABASE_URL")
            database_url = database_url or Postgres(data_folder.path).url(SIGNER)
            folder = Path(os.environ.get("SIGNING_DIR") or data_folder.signing_keys)
        else:
            database_url, folder = settings().database_url.get_secret_value(), settings().signing_dir
        return asyncio.run(_with_signer(database_url, KeyFolder(folder), step))
    except (ValidationError, StackError) as error:
        reason = "DATABASE_URL or another setting is missing" if isinstance(error, ValidationError) else str(error)
        end_with_error(f"nothing was changed: {reason}; {ADVICE}", WRONG_CALL, as_json=as_json)
    except (SQLAlchemyError, OSError) as error:
        reason = f"the database or the folder of keys cannot be used ({type(error).__name__})"
        end_with_error(f"{reason}; {ADVICE}", REFUSED, as_json=as_json)


async def _with_signer(
    database_url: str, folder: KeyFolder, step: Callable[[Signer], Awaitable[T]], *, head_seconds: float = 60.0
) -> T:
    engine = make_engine(database_url, pool_size=2)
    try:
        sessions = async_sessionmaker(engine, expire_on_commit=False)
        return await step(Signer(sessions, folder, head_seconds=head_seconds))
    finally:
        await engine.dispose()
