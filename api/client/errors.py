"""Errors of the client: each is an UnlearningError."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

PROBLEM_TYPE = "urn:unlearning-service:problem:"


class UnlearningError(Exception):
    """The base of all errors that the client raises."""

    retry_after: float | None = None
    """Seconds after which the service asks to try again; None: it does not say."""


class NoServiceNamed(UnlearningError):
    """Neither the arguments nor the environment name a service and a key."""


class NotAnId(UnlearningError, ValueError):
    """A text cannot be an id or a name: it is empty, or would name another address."""


class NotSendable(UnlearningError, ValueError):
    """The request cannot be sent: the service's URL or the key has a form that HTTP does not allow."""


class NoAnswer(UnlearningError):
    """The service did not answer. `sent` tells whether it may have received the request all the same."""

    def __init__(self, message: str, *, sent: bool) -> None:
        self.sent = sent
        super().__init__(message)


class UnexpectedAnswer(UnlearningError):
    """The answer is a redirect, cannot be decoded, or has a form that this version of the client does not know."""


class DigestMismatch(UnlearningError):
    """Downloaded bytes do not have the digest that the service states. Nothing of them is kept under the final name."""

    def __init__(self, path: str, *, stated: str, found: str) -> None:
        self.path, self.stated, self.found = path, stated, found
        super().__init__(f"{path} has the sha256 {found}, not {stated} as the service states: download it again")


class PartInUse(UnlearningError):
    """Another download, of this process or of another, writes to the same part of a file."""

    def __init__(self, part: Path) -> None:
        self.part = part
        super().__init__(f"another download writes to {part}: try again when it is over")


class WaitTimeout(UnlearningError, TimeoutError):
    """The time to wait is over; the work goes on."""


@dataclass(frozen=True)
class FieldFault:
    """A field of the request that is at fault."""

    pointer: str
    """JSON pointer (RFC 6901) into the request's body, or the name of a parameter."""
    detail: str


class ServiceError(UnlearningError):
    """The service answered 4xx or 5xx with a problem document (RFC 9457)."""

    def __init__(self, answer: httpx.Response) -> None:
        try:
            document = answer.json()
        except ValueError:
            document = {}
        document = document if isinstance(document, dict) else {}
        self.status = answer.status_code
        kind = str(document.get("type", ""))
        self.problem = kind.removeprefix(PROBLEM_TYPE) if kind.startswith(PROBLEM_TYPE) else ""
        """The name of the kind of problem, such as `not-released`; empty: a proxy answered, not the service."""
        self.title = str(document.get("title") or answer.reason_phrase)
        self.detail = str(document.get("detail") or "")
        self.errors = [
            FieldFault(str(error.get("pointer", "")), str(error.get("detail", "")))
            for error in document.get("errors") or []
        ]
        self.request_id = answer.headers.get("x-request-id")
        self.retry_after = _seconds(answer.headers.get("retry-after"))
        faults = [f"{fault.pointer} {fault.detail}".strip() for fault in self.errors]
        detail = "" if self.detail in {fault.detail for fault in self.errors} else self.detail
        sentences = [sentence for sentence in (self.title, detail, *faults) if sentence]
        super().__init__(f"{self.status}: " + "; ".join(sentences))


class InvalidRequest(ServiceError):
    """400, 413, 415 or 422: the request itself is refused; `errors` names the fields at fault."""


class Unauthenticated(ServiceError):
    """401: there is no key, or it is not valid."""


class Forbidden(ServiceError):
    """403: the key lacks a scope, or the checkpoint is not released."""


class NotFound(ServiceError):
    """404: there is no such thing in the key's organisation."""


class Conflict(ServiceError):
    """409: the present state does not allow it."""


class RateLimited(ServiceError):
    """429: too many requests with this key."""


class Unavailable(ServiceError):
    """502, 503 or 504: the service, or a proxy before it, cannot answer now."""


_CLASSES: dict[int, type[ServiceError]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidRequest),
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    429: RateLimited,
    **dict.fromkeys((502, 503, 504), Unavailable),
}


def service_error(answer: httpx.Response) -> ServiceError:
    """Returns the error that an answer with a 4xx or 5xx status stands for. Its body has been read."""
    return _CLASSES.get(answer.status_code, ServiceError)(answer)


def redirected(answer: httpx.Response) -> UnexpectedAnswer:
    """Returns the error for a redirect that is not followed, with the scheme and host to which it leads."""
    where = "nowhere"
    if location := answer.headers.get("location"):
        target = answer.url.join(location)
        where = f"{target.scheme}://{target.netloc.decode()}"
    return UnexpectedAnswer(
        f"{answer.status_code}: the service redirects to {where}: name the service by the URL that it answers at"
    )


def request_error(failure: httpx.RequestError | httpx.InvalidURL) -> UnlearningError:
    """Returns the error for a request that failed without an answer of the service that can be read."""
    match failure:
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return NotSendable(f"the service's URL cannot be used: {failure}")
        case httpx.LocalProtocolError():  # its text may show the key
            return NotSendable("the request is not HTTP: look for odd characters in the key, or a file that changed")
        case httpx.TransportError():
            return no_answer(failure)
    return UnexpectedAnswer(f"the service's answer cannot be read ({type(failure).__name__})")


def no_answer(failure: httpx.TransportError) -> NoAnswer:
    """Returns the error for a failed connection."""
    unsent = isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return NoAnswer(f"the service does not answer ({type(failure).__name__})", sent=not unsent)


def _seconds(retry_after: str | None) -> float | None:
    """Returns the seconds of a Retry-After header, in either of its forms (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo else None
