"""Uploads files and shows how the service read each one, so that a wrong guess shows before the job runs."""

from pathlib import Path
from typing import Any

from rich.console import Console

from api.client import Client


def upload_file(client: Client, file: Path, purpose: str, console: Console) -> str:
    """Uploads the file, prints how it was read, and returns its id. Raises ServiceError."""
    upload = client.upload(file, purpose)
    console.print(reading_summary(upload), markup=False, soft_wrap=True)
    return str(upload["id"])


def reading_summary(file: dict[str, Any]) -> str:
    """Returns a line about how an uploaded file was read, and a line for each guess or other warning."""
    understood = file.get("understood") or {}
    parts = [file["format"], *(understood.get(name) for name in ("compression", "encoding", "separator"))]
    parts += understood.get("shapes", [])
    count = "1 record" if file["records"] == 1 else f"{file['records']} records"
    lines = [f"{file['filename']}: {count}, read as {', '.join(part for part in parts if part)}"]
    if fields := understood.get("fields"):
        lines.append(f"  fields: {', '.join(f'{theirs} as {ours}' for theirs, ours in fields.items())}")
    if ignored := understood.get("ignored"):
        lines.append(f"  ignored: {', '.join(ignored)}")
    lines += [f"  warning: {warning}" for warning in understood.get("warnings", [])]
    return "\n".join(lines)
