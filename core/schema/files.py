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


def file_label(names: Sequence[str], index: int) -> str:
    """Returns the label of one of a job's files: its set, with its number if the set has several files.

    `names` are the sets of all the job's files, in order.
    """
    name = names[index]
    return f"{name}, file {names[: index + 1].count(name)}" if names.count(name) > 1 else name


class File(Answer):
    """An uploaded file, as `/v1/files` shows it. Only `/v1/files/{id}/content` returns its text."""

    id: str = Field(description="The file's id, `file-…`.")
    object: Literal["file"] = Field(default="file", description="Always `file`.")
    purpose: Purpose = Field(description="What the file may be used for.")
    filename: str = Field(description="The file's name, as it was sent.")
    format: FileFormat = Field(description="The format that the file was read in.")
    bytes: int = Field(description="The size of the file in bytes, as it was sent.")
    sha256: str = Field(description="The sha256 of the bytes, as they were sent.")
    records: int = Field(description="The number of records.")
    understood: FileInterpretation | None = Field(
        default=None, description="How the file was read. Null for files uploaded before the service kept this."
    )
    created_at: datetime = Field(description="When the file was uploaded.")
    expires_at: datetime | None = Field(
        description="When the file is deleted, unless a job still needs it or a model has it as a default."
    )
