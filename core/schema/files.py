"""Uploaded files of records, and what each may be used for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

from pydantic import Field

from core.schema.file_interpretation import FileInterpretation
from core.schema.strict import Answer

Purpose = Literal["forget", "retain", "unseen", "general", "probes"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
FileFormat = Literal["jsonl", "json", "txt", "csv", "parquet", "arrow"]


def file_label(names: Sequence[str], place: int) -> str:
    """A file among those of a job, given the sets' names in order: its set, and which one of several it is."""
    name = names[place]
    return f"{name}, file {names[: place + 1].count(name)}" if names.count(name) > 1 else name


class File(Answer):
    """An uploaded file, as `/v1/files` shows it. Its text is never part of an answer but of `/content`."""

    id: str = Field(description="its id, `file-…`")
    object: Literal["file"] = Field(default="file", description="always `file`")
    purpose: Purpose = Field(description="what it may be used for")
    filename: str = Field(description="as it was sent")
    format: FileFormat = Field(description="how it was read")
    bytes: int = Field(description="as they were sent")
    sha256: str = Field(description="of the bytes as they were sent")
    records: int = Field(description="how many")
    understood: FileInterpretation | None = Field(
        default=None, description="how the file was read; null of files that were uploaded before this was kept"
    )
    created_at: datetime = Field(description="when it was uploaded")
    expires_at: datetime | None = Field(
        description="when it is deleted, unless a job still needs it or a model has it as a default"
    )
