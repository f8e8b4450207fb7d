"""Failures of an attempt, with messages that a person can act on."""

import signal

from core.schema.jobs import JobError


class AttemptFailed(Exception):
    """The attempt has failed; `error` becomes the job's error."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.code)
        self.error = error


def service_failure(code: str, message: str, *, retryable: bool = True) -> AttemptFailed:
    """Returns a failure that is the service's fault."""
    return AttemptFailed(JobError(code=code, message=message, blame="service", retryable=retryable))


def child_died(status: int) -> AttemptFailed:
    """Returns the failure of a child that ended without a final event.

    `status` is an exit code or minus a signal, as in `Popen.returncode`.
    """
    if status >= 0:
        message = f"the job's process ended with code {status} before its work was done; the worker's log says where"
    else:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = "unknown"
        message = f"the job's process was killed by signal {-status} ({name})"
        if -status == signal.SIGKILL:
            message += ": most likely the host ran out of memory; give the worker more, or lower max_length"
    return service_failure("child_died", message)
