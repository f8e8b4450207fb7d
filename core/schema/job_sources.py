"""Where the text of a job comes from: uploaded files, or records in the request."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from core.schema.file_interpretation import FileInterpretation
from core.schema.record import Record
from core.schema.record_shapes import normalize_record
from core.schema.strict import Strict

RetainKind = Literal["in_distribution", "general"]


def _in_known_shape(record: Any) -> Any:
    return normalize_record(record, FileInterpretation()) if isinstance(record, dict) else record


InlineRecord = Annotated[
    str | Record, BeforeValidator(_in_known_shape, json_schema_input_type=str | Record | dict[str, Any])
]
"""A text, or an object in any of the shapes that uploaded files may have."""


class ForgetSource(Strict):
    """The text to forget: an uploaded file, or the records in the request (up to 1 MB), in any shape of such files."""

    file: str | None = Field(default=None, description="The id of an uploaded file.")
    records: list[InlineRecord] | None = Field(
        default=None,
        max_length=10_000,
        description="The records themselves: texts, or objects as in a JSON Lines file.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ForgetSource":
        if (self.file is None) == (self.records is None):
            raise ValueError("name exactly one of: file, records")
        if self.records is not None and not self.records:
            raise ValueError("the forget set is empty")
        return self

    def inline_records(self) -> list[Record]:
        """Returns the inline records. A bare string is a record of plain text."""
        return [Record(text=record) if isinstance(record, str) else record for record in self.records or []]

    @field_validator("records")
    @classmethod
    def _no_empty_text(cls, records: list[str | Record] | None) -> list[str | Record] | None:
        for number, record in enumerate(records or [], start=1):
            if isinstance(record, str) and not record.strip():
                raise ValueError(f"record {number} is empty")
        return records


class RetainSource(Strict):
    """An uploaded file of text that the model must keep."""

    file: str = Field(description="The id of an uploaded file.")
    kind: RetainKind = Field(
        default="in_distribution",
        description="`in_distribution`: text like the text to forget. `general`: text of any other kind.",
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="The share of this file among the retain files. How much all of them count against the forget set"
        " is the method's `retain_weight`.",
    )


class FileSource(Strict):
    """An uploaded file."""

    file: str = Field(description="The id of an uploaded file.")
