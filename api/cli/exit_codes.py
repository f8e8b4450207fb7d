"""Exit codes of the `unlearn` command (docs/operations.md)."""

from api.client import (
    DigestMismatch,
    NoAnswer,
    NoServiceNamed,
    NotAnId,
    NotSendable,
    RateLimited,
    Unavailable,
    UnlearningError,
)

REFUSED = 1
"""The service refused, or the job did not succeed."""
WRONG_CALL = 2
"""The command was called wrongly, or no service is named."""
NOT_MEASURED = 3
"""All checks of `unlearn verify` hold, but the figures could not be made again."""
NO_ANSWER = 4
"""The service does not answer, or asks to come back later: the same command may succeed then."""
WRONG_BYTES = 5
"""Downloaded bytes do not have the digest that the service states."""


def exit_code(error: UnlearningError) -> int:
    """Returns the exit code of a command that ends with this error."""
    match error:
        case NoAnswer() | Unavailable() | RateLimited():
            return NO_ANSWER
        case DigestMismatch():
            return WRONG_BYTES
        case NoServiceNamed() | NotAnId() | NotSendable():
            return WRONG_CALL
    return REFUSED
