"""What can go wrong while computing, in words that a person can act on. Messages never hold a record's text."""

from typing import Literal

from core.schema.jobs import JobError


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory is short: the host's, which torch reports as a plain RuntimeError, or a device's."""
    texts = ("can't allocate memory", "not enough memory")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(text in str(error) for text in texts))
    )


class CoreError(Exception):
    """A failure with a code; `blame` says whose fault it is, `retryable` whether the same job may succeed later."""

    def __init__(
        self, code: str, message: str, *, blame: Literal["user", "service"] = "user", retryable: bool = False
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.blame: Literal["user", "service"] = blame
        self.retryable = retryable

    def as_error(self) -> JobError:
        return JobError(code=self.code, message=self.message, blame=self.blame, retryable=self.retryable)
