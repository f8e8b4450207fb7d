"""`unlearn files`: uploads, lists, shows, downloads and deletes files of records."""

from pathlib import Path
from typing import Annotated

import typer

from api.cli.listing import fields, size_text, table
from api.cli.session import Session, service_command
from api.cli.uploads import reading_summary
from core.schema.files import Purpose

app = typer.Typer(help="Upload, list, show, download and delete files of records.", no_args_is_help=True)

FileId = Annotated[str, typer.Argument(metavar="FILE", help="The id of the file.")]
COLUMNS = ("file", "purpose", "records", "size", "name", "uploaded (UTC)", "kept until (UTC)")


@app.command("upload")
@service_command
def upload(
    session: Session,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file; docs/records.md has the forms.")],
    purpose: Annotated[Purpose, typer.Option(help="What the records are for.")],
) -> None:
    """Upload a file of records, and show how it was read."""
    uploaded = session.client.files.upload(file, purpose)
    session.err.print(reading_summary(uploaded), markup=False, soft_wrap=True)
    session.show(uploaded, uploaded.id)


@app.command("list")
@service_command
def list_files(
    session: Session,
    purpose: Annotated[Purpose | None, typer.Option(help="Only files for this purpose.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of files to list.")] = 20,
    after: Annotated[str | None, typer.Option(help="List the files that follow this one.")] = None,
) -> None:
    """List uploaded files, newest first, without their text."""
    page = session.client.files.page(purpose=purpose, limit=limit, after=after)
    rows = [
        (it.id, it.purpose, it.records, size_text(it.bytes), it.filename, it.created_at, it.expires_at)
        for it in page.data
    ]
    session.show_page(page, table(COLUMNS, rows, width=session.out.width, numbers=("records", "size")))


@app.command("show")
@service_command
def show(session: Session, file: FileId) -> None:
    """Show a file, without its text: how it was read, and until when it is kept."""
    it = session.client.files.get(file)
    listing = fields(
        {
            "file": it.id,
            "purpose": it.purpose,
            "size": size_text(it.bytes),
            "sha256": it.sha256,
            "uploaded (UTC)": it.created_at,
            "kept until (UTC)": it.expires_at,
        }
    )
    session.show(it, listing, reading_summary(it))


@app.command("download")
@service_command
def download(
    session: Session,
    file: FileId,
    out: Annotated[Path, typer.Option(dir_okay=False, help="Write the file here.")],
) -> None:
    """Download a file as it was uploaded, and check its sha256. It is the text itself: keep it as such."""
    it = session.client.files.download(file, out)
    session.show({"file": str(out), "id": it.id, "bytes": it.bytes, "sha256": it.sha256}, f"{out}: the upload's sha256")


@app.command("delete")
@service_command
def delete(
    session: Session, file: Annotated[list[str], typer.Argument(metavar="FILE...", help="The ids of the files.")]
) -> None:
    """Delete files for good: first the keys that decrypt them, then their bytes."""
    for id in file:
        session.client.files.delete(id)
        session.say(f"{id} is deleted")
    session.show({"deleted": file})
