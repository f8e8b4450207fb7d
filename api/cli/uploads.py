"""Uploads of a command, with how the service read each file: a guess that is wrong shows before the job runs."""

from pathlib import Path
from typing import Any

from rich.console import Console

from api.client import Client


def upload_file(client: Client, file: Path, purpose: str, console: Console) -> str:
    """Uploads the file and says on the console how it was read; its id. Raises ServiceError."""
    answer = client.upload(file, purpose)
    console.print(reading_summary(answer), markup=False, soft_wrap=True)
    return str(answer["id"])


def reading_summary(file: dict[str, Any]) -> str:
    """A line about how an uploaded file was read, and one for each guess or other warning."""
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
