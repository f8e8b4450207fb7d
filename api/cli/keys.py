"""`unlearn keys`: makes API keys on the database's machine, such as the first one or one for a second person.

Keys that there are already are listed, shown and revoked over HTTP, from any machine.
"""

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

from api.auth import hash_key, key_prefix, new_api_key
from api.cli.data_folder import DEFAULT_DATA, DataFolder, DataOption
from api.cli.exit_codes import REFUSED, WRONG_CALL
from api.cli.listing import fields, table
from api.cli.output import JsonOption, end_with_error, json_text
from api.cli.session import Session, service_command
from core.embedded.errors import StackError
from core.embedded.postgres import SERVICE, Postgres
from core.records import keys
from core.records.engine import make_engine
from core.schema.api_keys import SCOPES
from core.settings import settings

app = typer.Typer(help="Make, list, show and revoke API keys.", no_args_is_help=True)
out = Console(highlight=False, soft_wrap=True)

COLUMNS = ("key", "name", "begins with", "scopes", "made (UTC)", "expires (UTC)", "revoked (UTC)")
ADVICE = (
    "run it where the service runs: in the data folder of 'unlearn up' (--data), or with its settings (DATABASE_URL)"
)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="A name that says who uses the key.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"A right of the key: {', '.join(SCOPES)}. May be repeated; default: admin."),
    ] = None,
    organisation: Annotated[
        str, typer.Option(help="The organisation of the key; it is made where none has this name.")
    ] = "default",
    data: DataOption = DEFAULT_DATA,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it once.

    The key is for the service that runs in the data folder, or for the service whose settings (DATABASE_URL) are set.
    """
    if unknown := set(scope or []) - set(SCOPES):
        raise typer.BadParameter(f"no such scope: {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
    try:
        database = _database(data)
        key = asyncio.run(_add_key(database, name, scope or ["admin"], organisation))
    except (ValidationError, ValueError, StackError) as error:
        reason = "DATABASE_URL or another setting is missing" if isinstance(error, ValidationError) else str(error)
        end_with_error(f"no key was made: {reason}; {ADVICE}", WRONG_CALL, as_json=as_json)
    except (SQLAlchemyError, OSError) as error:
        reason = f"the database cannot be used ({type(error).__name__}); is the service running?"
        end_with_error(f"no key was made: {reason}", REFUSED, as_json=as_json)
    if as_json:
        typer.echo(json_text({"key": key, "name": name, "scopes": scope or ["admin"], "organisation": organisation}))
    else:
        out.print(key)


@app.command("list")
@service_command
def list_keys(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of keys to list.")] = 20,
    after: Annotated[str | None, typer.Option(help="List the keys that follow this one.")] = None,
) -> None:
    """List the organisation's keys, newest first, with the revoked ones. It needs a key with the scope admin."""
    page = session.client.keys.page(limit=limit, after=after)
    rows = [
        (it.id, it.name, it.prefix, " ".join(it.scopes), it.created_at, it.expires_at, it.revoked_at)
        for it in page.data
    ]
    session.show_page(page, table(COLUMNS, rows, width=session.out.width))


@app.command("show")
@service_command
def show(
    session: Session,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="The key's id; default: the key in use.")] = None,
) -> None:
    """Show a key, such as the one in use: its organisation and what it may do. The key itself is shown by none."""
    it = session.client.keys.own() if id is None else session.client.keys.get(id)
    listing = {
        "key": it.id,
        "name": it.name,
        "begins with": it.prefix,
        "organisation": it.organisation,
        "scopes": ", ".join(it.scopes),
        "made (UTC)": it.created_at,
        "expires (UTC)": it.expires_at,
        "revoked (UTC)": it.revoked_at,
    }
    session.show(it, fields(listing))


@app.command("revoke")
@service_command
def revoke(session: Session, id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]) -> None:
    """Revoke a key for good: nobody can use it any more. It needs a key with the scope admin."""
    it = session.client.keys.revoke(id)
    session.show(it, f"{it.id} ({it.name}) is revoked")


@dataclass(frozen=True)
class KeyDatabase:
    """The database that a key is written to, and the service key that its hash is made with."""

    url: str
    service_key: bytes


def _database(data: Path) -> KeyDatabase:
    """Returns the running service's database, overridden by the environment's settings as for `unlearn up`.

    Without a running service the environment's settings alone count. ValidationError: they are missing.
    """
    data_folder = DataFolder(data)
    if data_folder.running() is None:
        configured = settings()
        return KeyDatabase(configured.database_url.get_secret_value(), configured.service_key())
    service_key = Path(os.environ.get("SERVICE_KEY_FILE") or data_folder.service_key)
    url = os.environ.get("DATABASE_URL") or Postgres(data_folder.path).url(SERVICE)
    return KeyDatabase(url, base64.b64decode(service_key.read_text()))


async def _add_key(database: KeyDatabase, name: str, scopes: list[str], organisation: str) -> str:
    key = new_api_key()
    engine = make_engine(database.url)
    try:
        async with async_sessionmaker(engine).begin() as session:
            await keys.add(
                session,
                organisation=await keys.get_or_create_organisation(session, organisation),
                name=name,
                prefix=key_prefix(key),
                hash=hash_key(key, database.service_key),
                scopes=scopes,
            )
    finally:
        await engine.dispose()
    return key
