"""Jobs that make a model forget."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypedDict, Unpack

from api.client.answers import ask, parse
from api.client.call import create, get, post, url_path
from api.client.deadline import Deadline
from api.client.event_stream import ServerSentEvent, follow
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Sleep, Steps, send
from core.schema.checkpoints import Checkpoint, JobMetrics
from core.schema.deadlines import ExtensionRequest
from core.schema.events import Event
from core.schema.jobs import TERMINAL, Job, JobKind, JobRequest, Status
from core.schema.pages import Page
from core.schema.verdict_parts import Verdict

HELD_SECONDS = 30.0
"""The service holds an answer for so long until the job changes."""
PAUSE_SECONDS = 0.2
"""A job that trains changes often."""


class JobFilter(TypedDict, total=False):
    """Conditions on the jobs of a list. All of them must hold."""

    kind: JobKind
    status: Status
    model: str
    method: str
    external_reference: str
    verdict: Verdict
    created_after: datetime
    created_before: datetime
    due_before: date
    overdue: bool


class Jobs(Resource[Transport]):
    """`client.jobs`: requests to forget, and their progress."""

    @operation
    def create(self, request: JobRequest | Mapping[str, Any], *, idempotency_key: str | None = None) -> Steps[Job]:
        """Submits a job and returns it, queued.

        With an `idempotency_key` of your own, such as the number of the request to forget, the same submission makes
        one job for a day, even from another process. Raises InvalidRequest.
        """
        return ask(create(url_path("jobs"), request, idempotency_key), Job)

    @operation
    def get(self, job: str) -> Steps[Job]:
        """Returns the job. Raises NotFound."""
        return ask(get(url_path("jobs", job)), Job)

    @operation
    def wait(self, job: str, *, seconds: float | None = None) -> Steps[Job]:
        """Returns the job as soon as it has succeeded, failed or been cancelled. Raises WaitTimeout; the job goes on.

        The service holds each answer until the job changes, for up to 30 s.
        """
        deadline = Deadline(seconds, f"{job} is not over yet")
        etag = '"unknown"'
        while True:
            held = get(url_path("jobs", job), wait=deadline.within(HELD_SECONDS))
            answer = yield from send(held.with_headers({"If-None-Match": etag}), deadline)
            if answer.status_code != 304:
                etag = answer.headers["ETag"]
                state = parse(answer, Job)
                if state.status in TERMINAL:
                    return state
            deadline.check()
            yield Sleep(deadline.within(PAUSE_SECONDS))

    @stream
    def follow(self, job: str) -> Items[ServerSentEvent]:
        """Iterates over the job's events as they happen, from the first one to the job's end.

        A lost connection is made again without losing or repeating an event. A terminal event with events after it
        ended an attempt before a retry.
        """
        return follow(job)

    @stream
    def events(self, job: str) -> Items[Event]:
        """Iterates over the job's events so far, newest first."""
        return every(get(url_path("jobs", job, "events")), Page[Event])

    @operation
    def page(self, *, limit: int = 20, after: str | None = None, **conditions: Unpack[JobFilter]) -> Steps[Page[Job]]:
        """Returns one page of the jobs, newest first; with `due_before` or `overdue` the soonest due first."""
        return ask(get(url_path("jobs"), limit=limit, after=after, **conditions), Page[Job])

    @stream
    def list(self, **conditions: Unpack[JobFilter]) -> Items[Job]:
        """Iterates over all jobs that meet the conditions, in the order of `page`."""
        return every(get(url_path("jobs"), **conditions), Page[Job])

    @operation
    def metrics(self, job: str) -> Steps[JobMetrics]:
        """Returns the job's curves, its figures before and after, the verdict by bound, and the cost."""
        return ask(get(url_path("jobs", job, "metrics")), JobMetrics)

    @operation
    def checkpoints(self, job: str) -> Steps[Page[Checkpoint]]:
        """Returns the job's checkpoints, newest first, always on one page."""
        return ask(get(url_path("jobs", job, "checkpoints")), Page[Checkpoint])

    @operation
    def cancel(self, job: str) -> Steps[Job]:
        """Cancels the job; while its worker still stops, `requested` is `cancel`. Raises Conflict."""
        return _request(job, "cancel")

    @operation
    def pause(self, job: str) -> Steps[Job]:
        """Pauses the job after its step, with a snapshot. Raises Conflict where that cannot be."""
        return _request(job, "pause")

    @operation
    def resume(self, job: str) -> Steps[Job]:
        """Queues a paused job again. Raises Conflict if there is nothing to resume."""
        return _request(job, "resume")

    @operation
    def retry(self, job: str) -> Steps[Job]:
        """Gives a failed job a new attempt. Raises Conflict if it has not failed."""
        return _request(job, "retry")

    @operation
    def extend(self, job: str, reason: str, *, due: date | None = None) -> Steps[Job]:
        """Moves the job's deadline to a later day, by default the latest that is allowed. Raises Conflict."""
        return ask(post(url_path("jobs", job, "extend"), ExtensionRequest(reason=reason, due=due)), Job)


def _request(job: str, action: str) -> Steps[Job]:
    return ask(post(url_path("jobs", job, action)), Job)
