"""Failures of the computation, in words that a person can act on. Messages never hold a record's text."""

from typing import Literal

from core.schema.jobs import JobError


def out_of_memory(error: BaseException) -> bool:
    """Whether the error means that memory is short, a device's or the host's.

    torch reports the host's as a plain RuntimeError.
    """
    texts = ("can't allocate memory", "not enough memory")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and any(text in str(error) for text in texts))
    )


class CoreError(Exception):
    """A failure with a code. `blame` names the side at fault; `retryable`: the same job may succeed later."""

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
