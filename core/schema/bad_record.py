"""The error of a file of records: the place and the reason, never the text."""


class BadRecord(ValueError):
    """A line that is no record. Counted from 1; `unit` is `row` in columnar files and `record` in JSON arrays.

    `line` is where the record begins, where that is not the number itself.
    """

    def __init__(self, number: int, reason: str, *, unit: str = "line", line: int | None = None) -> None:
        where = f" (line {line})" if line is not None else ""
        super().__init__(f"{unit} {number}{where}: {reason}")
        self.number = number
        self.reason = reason
