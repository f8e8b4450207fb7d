"""The error of a file of records: the place and the reason, never the text."""

from core.schema.errors import DomainError, Identifier, OwnWords


class BadRecord(DomainError, ValueError):
    """A line that is not a record. `number` counts from 1; `unit` is `row` in columnar files and `record` in JSON
    arrays.

    `line` is the line that the record begins on, where that is not the number itself.
    """

    status, problem, pointer = 422, "bad-record", "/file"

    def __init__(self, number: int, reason: OwnWords, *, unit: Identifier = "line", line: int | None = None) -> None:
        where = f" (line {line})" if line is not None else ""
        self.detail = f"{unit} {number}{where}: {reason}"
        super().__init__()
        self.number = number
        self.reason = reason
