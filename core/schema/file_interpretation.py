"""The service's interpretation of an uploaded file, which states neither its encoding nor its fields."""

from pydantic import Field

from core.schema.strict import Answer


class FileInterpretation(Answer):
    """How the service read a file. All names are those that the service knows, never text of the file."""

    encoding: str | None = Field(default=None, description="The encoding of a text file.", examples=["UTF-8"])
    compression: str | None = Field(default=None, description="The compression: `gzip` or `zstd`.")
    separator: str | None = Field(
        default=None, description="The separator of a CSV file: `comma`, `semicolon`, `tab` or `bar`."
    )
    shapes: list[str] = Field(default=[], description="The shapes of the records.", examples=[["question and answer"]])
    fields: dict[str, str] = Field(
        default={},
        description="Fields with other names, each with the service's field that it was read as.",
        examples=[{"question": "prompt", "answer": "completion"}],
    )
    roles: dict[str, str] = Field(
        default={},
        description="Roles with other names, each with the service's role that it was read as.",
        examples=[{"human": "user"}],
    )
    ignored: list[str] = Field(
        default=[], description="Known fields that are not used, such as the index of a data frame."
    )
    warnings: list[str] = Field(
        default=[], description="What the service had to guess, and what may be a mistake. Please check these."
    )

    def add_shape(self, name: str) -> None:
        """Notes a shape, once."""
        if name not in self.shapes:
            self.shapes.append(name)

    def ignore(self, name: str) -> None:
        """Notes a field that is not used, once."""
        if name not in self.ignored:
            self.ignored.append(name)

    def warn(self, message: str) -> None:
        """Notes a warning, once."""
        if message not in self.warnings:
            self.warnings.append(message)
