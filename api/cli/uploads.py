"""Uploads files and shows how the service read each one, so that a wrong guess shows before the job runs."""

from pathlib import Path
from typing import Self

from rich.console import Console

from api.client import UnlearningClient, UnlearningError
from core.schema.file_interpretation import FileInterpretation
from core.schema.files import File, Purpose
from core.schema.ids import ID_PATTERN


class Uploads:
    """The uploads for one request. `with` deletes them again on leaving, unless `keep` was called."""

    def __init__(self, client: UnlearningClient, console: Console) -> None:
        self._client, self._console = client, console
        self._files: list[str] = []

    def add(self, file: Path, purpose: Purpose) -> str:
        """Uploads the file, prints how it was read, and returns its id. Raises UnlearningError."""
        upload = self._client.files.upload(file, purpose)
        self._files.append(upload.id)
        self._console.print(reading_summary(upload), markup=False, soft_wrap=True)
        return upload.id

    def resolve(self, file: str, purpose: Purpose) -> str:
        """Returns the id of an upload: `file` itself where it is one, else that of the file, which is uploaded."""
        is_id = ID_PATTERN.match(file) is not None and not Path(file).exists()
        return file if is_id else self.add(Path(file), purpose)

    def keep(self) -> None:
        """Keeps the files, which are needed now."""
        self._files = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._files:
            file = self._files.pop()
            try:
                self._client.files.delete(file)
            except UnlearningError as failure:
                advice = f"unlearn files delete {file}"
                self._console.print(f"{file} could not be deleted again ({type(failure).__name__}): {advice}")


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
