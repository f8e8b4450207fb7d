"""`unlearn keys`: API keys, made where the database is: the first one, or one for a second person."""

import asyncio
import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import async_sessionmaker

from api.auth import SCOPES, hash_key, key_prefix, new_api_key
from api.cli.data_folder import DataFolder
from api.cli.up import DEFAULT_DATA, DataOption
from core.embedded.errors import StackError
from core.embedded.postgres import Postgres
from core.records import keys
from core.records.engine import make_engine
from core.settings import settings

app = typer.Typer(help="API keys", no_args_is_help=True)
out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)

ADVICE = (
    "run it where the service runs: in the data folder of 'unlearn up' (--data), or with its settings (DATABASE_URL)"
)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="what the key is for")],
    scope: Annotated[list[str] | None, typer.Option(help="repeatable; default: admin")] = None,
    organisation: Annotated[str, typer.Option(help="made where there is none of this name")] = "default",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Make a key and show it, once: for the `unlearn up` of this folder, or the service whose settings are set."""
    if unknown := set(scope or []) - set(SCOPES):
        raise typer.BadParameter(f"no such scope: {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
    try:
        where = _where(data)
        key = asyncio.run(_made(where, name, scope or ["admin"], organisation))
    except (ValidationError, ValueError, StackError) as error:
        reason = "DATABASE_URL or another setting is missing" if isinstance(error, ValidationError) else str(error)
        err.print(f"no key was made: {reason}; {ADVICE}", markup=False)
        raise typer.Exit(2) from None
    except (SQLAlchemyError, OSError) as error:
        err.print(f"no key was made: the database cannot be used ({type(error).__name__}); is the service running?")
        raise typer.Exit(1) from None
    out.print(key)


@dataclass(frozen=True)
class Where:
    """The database that a key is written to, and the service key that its hash is made with."""

    database_url: str
    service_key: bytes


def _where(data: Path) -> Where:
    """The running service of the folder, each part of which the environment's settings override as for `unlearn up`.

    Raises ValidationError where neither is to be found.
    """
    place = DataFolder(data)
    if place.running() is None:
        chosen = settings()
        return Where(chosen.database_url.get_secret_value(), chosen.service_key())
    service_key = Path(os.environ.get("SERVICE_KEY_FILE") or place.service_key)
    url = os.environ.get("DATABASE_URL") or Postgres(place.folder).url()
    return Where(url, base64.b64decode(service_key.read_text()))


async def _made(where: Where, name: str, scopes: list[str], organisation: str) -> str:
    key = new_api_key()
    engine = make_engine(where.database_url)
    try:
        async with async_sessionmaker(engine).begin() as session:
            await keys.add(
                session,
                organisation=await keys.get_or_create_organisation(session, organisation),
                name=name,
                prefix=key_prefix(key),
                hash=hash_key(key, where.service_key),
                scopes=scopes,
            )
    finally:
        await engine.dispose()
    return key
