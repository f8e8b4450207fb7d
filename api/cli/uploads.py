"""Uploads files and shows how the service read each one, so that a wrong guess shows before the job runs."""

from pathlib import Path

from rich.console import Console

from api.client import UnlearningClient
from core.schema.file_interpretation import FileInterpretation
from core.schema.files import File, Purpose


def upload_file(client: UnlearningClient, file: Path, purpose: Purpose, console: Console) -> str:
    """Uploads the file, prints how it was read, and returns its id. Raises UnlearningError."""
    upload = client.files.upload(file, purpose)
    console.print(reading_summary(upload), markup=False, soft_wrap=True)
    return upload.id


def reading_summary(file: File) -> str:
    """Returns a line about how an uploaded file was read, and a line for each guess or other warning."""
    understood = file.understood or FileInterpretation()
    parts = [file.format, understood.compression, understood.encoding, understood.separator, *understood.shapes]
    count = "1 record" if file.records == 1 else f"{file.records} records"
    lines = [f"{file.filename}: {count}, read as {', '.join(part for part in parts if part)}"]
    if fields := understood.fields:
        lines.append(f"  fields: {', '.join(f'{theirs} as {ours}' for theirs, ours in fields.items())}")
    if understood.ignored:
        lines.append(f"  ignored: {', '.join(understood.ignored)}")
    lines += [f"  warning: {warning}" for warning in understood.warnings]
    return "\n".join(lines)
