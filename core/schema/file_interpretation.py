"""How the service read a file that states neither its encoding nor its fields: shown with the file."""

from pydantic import Field

from core.schema.strict import Answer


class FileInterpretation(Answer):
    """The service's reading of a file. Names are those of the service's own tables, never the file's text."""

    encoding: str | None = Field(default=None, description="of text files, such as `UTF-8`", examples=["UTF-8"])
    compression: str | None = Field(default=None, description="`gzip` or `zstd`")
    separator: str | None = Field(default=None, description="of a CSV file: `comma`, `semicolon`, `tab` or `bar`")
    shapes: list[str] = Field(default=[], description="the record shapes in it", examples=[["question and answer"]])
    fields: dict[str, str] = Field(
        default={},
        description="fields under other names, and ours that they were read as",
        examples=[{"question": "prompt", "answer": "completion"}],
    )
    roles: dict[str, str] = Field(
        default={}, description="roles under other names, and ours", examples=[{"human": "user"}]
    )
    ignored: list[str] = Field(default=[], description="known fields that are not used, such as a data frame's index")
    warnings: list[str] = Field(default=[], description="guesses, and what may not be meant: look at these")

    def add_shape(self, name: str) -> None:
        if name not in self.shapes:
            self.shapes.append(name)

    def ignore(self, name: str) -> None:
        if name not in self.ignored:
            self.ignored.append(name)

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)
