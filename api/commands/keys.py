"""`unlearn keys`: API keys, made where the database is, for the first one or when none is left."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy.ext.asyncio import async_sessionmaker

from api.auth import SCOPES, hash_key, key_prefix, new_api_key
from core.records import keys
from core.records.engine import make_engine
from core.settings import settings

app = typer.Typer(help="API keys", no_args_is_help=True)
out = Console(highlight=False)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="what the key is for")],
    scope: Annotated[list[str] | None, typer.Option(help="repeatable; default: admin")] = None,
    organisation: Annotated[str, typer.Option(help="made where there is none of this name")] = "default",
) -> None:
    """Make a key and show it, once. Needs DATABASE_URL and SERVICE_KEY_FILE."""
    if unknown := set(scope or []) - set(SCOPES):
        raise typer.BadParameter(f"no such scope: {', '.join(sorted(unknown))}; there are {', '.join(SCOPES)}")
    key = new_api_key()

    async def store() -> None:
        engine = make_engine(settings().database_url.get_secret_value())
        try:
            async with async_sessionmaker(engine).begin() as session:
                await keys.add(
                    session,
                    organisation=await keys.organisation(session, organisation),
                    name=name,
                    prefix=key_prefix(key),
                    hash=hash_key(key, settings().service_key()),
                    scopes=scope or ["admin"],
                )
        finally:
            await engine.dispose()

    asyncio.run(store())
    out.print(key)
