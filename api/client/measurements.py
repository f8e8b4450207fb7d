"""Measurements of models and checkpoints, which change nothing."""

from collections.abc import Mapping
from typing import Any

from api.client.answers import ask
from api.client.call import create, get, post, url_path
from api.client.deadline import Deadline
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Sleep, Steps
from core.schema.jobs import TERMINAL
from core.schema.measurement_jobs import Measurement, MeasurementRequest
from core.schema.pages import Page

POLL_SECONDS = 2.0


class Measurements(Resource[Transport]):
    """`client.measurements`: jobs that only measure. Their ids are `meas-…`."""

    @operation
    def create(
        self, request: MeasurementRequest | Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Steps[Measurement]:
        """Submits a measurement and returns it, queued. Raises InvalidRequest."""
        return ask(create(url_path("measurements"), request, idempotency_key), Measurement)

    @operation
    def get(self, measurement: str) -> Steps[Measurement]:
        """Returns the measurement, with its figures once it has succeeded. Raises NotFound."""
        return ask(get(url_path("measurements", measurement)), Measurement)

    @operation
    def wait(self, measurement: str, *, seconds: float | None = None) -> Steps[Measurement]:
        """Returns the measurement as soon as it has succeeded, failed or been cancelled. Raises WaitTimeout."""
        deadline = Deadline(seconds, f"{measurement} is not over yet")
        while True:
            state = yield from ask(get(url_path("measurements", measurement)), Measurement, deadline)
            if state.status in TERMINAL:
                return state
            deadline.check()
            yield Sleep(deadline.within(POLL_SECONDS))

    @stream
    def list(self) -> Items[Measurement]:
        """Iterates over all measurements, newest first, without their figures."""
        return every(get(url_path("measurements")), Page[Measurement])

    @operation
    def cancel(self, measurement: str) -> Steps[Measurement]:
        """Cancels the measurement. Raises Conflict if it has succeeded or is cancelled."""
        return ask(post(url_path("measurements", measurement, "cancel")), Measurement)
