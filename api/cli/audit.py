"""`unlearn audit`: lists the audit log, and exports it as a file that can be checked without the service."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.listing import table
from api.cli.session import Session, service_command

app = typer.Typer(help="List and export the organisation's audit log.", no_args_is_help=True)

COLUMNS = ("entry", "at (UTC)", "action", "object", "by", "details")


@app.command("list")
@service_command
def list_entries(
    session: Session,
    action: Annotated[str | None, typer.Option(help="Only actions of this name, such as checkpoint.released.")] = None,
    object: Annotated[str | None, typer.Option(help="Only actions on this object, such as a job.")] = None,
    by: Annotated[str | None, typer.Option(metavar="KEY", help="Only actions with this API key, by its id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of entries to list.")] = 20,
    after: Annotated[int | None, typer.Option(min=1, help="List the entries before this one.")] = None,
) -> None:
    """List entries of the audit log, newest first."""
    conditions: dict[str, Any] = {"action": action, "object": object, "key": by}
    page = session.client.audit.page(limit=limit, after=after, **conditions)
    rows = [
        (
            str(it.seq),
            datetime.fromisoformat(it.at),
            it.action,
            it.object,
            it.key or "the service",
            ", ".join(f"{name}={value}" for name, value in it.details.items()),
        )
        for it in page.data
    ]
    session.show_page(page, table(COLUMNS, rows, width=session.out.width, numbers=["entry"]))


@app.command("export")
@service_command
def export(
    session: Session,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The file for the log, as JSON Lines.")],
    after: Annotated[int, typer.Option(min=0, help="Only entries with a higher number than this.")] = 0,
) -> None:
    """Write the whole audit log to a file, and check that each entry follows the entry before."""
    newest = session.client.audit.export(out, after=after)
    document = {"file": str(out), "newest": None if newest is None else newest.model_dump()}
    if newest is None:
        session.show(document, f"{out}: there is no such entry")
        return
    session.show(
        document,
        f"{out}: entries up to number {newest.seq}; keep the hash of the newest: {newest.hash}",
        f"check it, with its signatures: unlearn verify {out} --keys jwks.json",
    )
