"""The task that delivers webhook messages, in every API process: workers have no way out of their network."""

import asyncio
import random
import signal
from datetime import UTC, datetime

import httpx
import structlog
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from api.webhooks.address_rules import AddressRules
from api.webhooks.request import ATTEMPT_SECONDS, open_client, post
from api.webhooks.signature import open_secret, sign
from core.records import webhooks
from core.records.retry import OutageWait
from core.records.webhooks import TakenDelivery
from core.schema.webhooks import AttemptError, DeliveryAttempt, WebhookMessage

POLL_SECONDS = 1.0
"""The longest that a message waits for its first attempt."""
AT_A_TIME = 8
"""Messages that one process sends at a time."""
LEASE_SECONDS = 4 * ATTEMPT_SECONDS
"""When a message is taken again whose sender died."""

MINUTE, HOUR = 60.0, 3600.0
PAUSES = (5.0, MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR)
"""Pauses before the second to the last attempt: about 32 hours in all."""
JITTER = 0.1
"""Share by which a pause is longer at random, so that messages which failed together are not all sent together."""

log = structlog.get_logger()


class WebhookSender:
    """Sends due messages until it is stopped; a message under way is then sent again by another process.

    While the database cannot be reached, or is not migrated yet, it waits; for rights that are missing it waits a
    minute at most. Any other error ends the process: an API
    that goes on without its sender would look healthy, and no message would arrive.
    """

    def __init__(self, sessions: async_sessionmaker[AsyncSession], *, service_key: bytes, rules: AddressRules) -> None:
        self._sessions = sessions
        self._service_key = service_key
        self._rules = rules
        self._outages = OutageWait()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="webhooks")
        self._task.add_done_callback(_end_process_after_failure)

    async def stop(self) -> None:
        """Stops the sending."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        sending: set[asyncio.Task[None]] = set()
        async with open_client() as client, asyncio.TaskGroup() as group:
            while True:
                try:
                    taken = await self._take(AT_A_TIME - len(sending))
                except Exception as error:
                    if not self._outages.covers(error):
                        raise
                    log.warning("webhooks_wait", error=type(error).__name__)
                    taken = []
                for delivery in taken:
                    sending.add(task := group.create_task(self._send(client, delivery)))
                    task.add_done_callback(sending.discard)
                await asyncio.sleep(POLL_SECONDS)

    async def _take(self, limit: int) -> list[TakenDelivery]:
        if limit == 0:
            return []
        async with self._sessions.begin() as session:
            return await webhooks.take_due(session, limit=limit, lease_seconds=LEASE_SECONDS)

    async def _send(self, client: httpx.AsyncClient, delivery: TakenDelivery) -> None:
        at = datetime.now(UTC)
        try:
            status, error = await self._attempt(client, delivery, at)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValidationError) as fault:
            # of this message alone: it must not end the delivery of all others
            log.error("webhook_fault", delivery=delivery.id, error=type(fault).__name__)
            status, error = None, "fault"
        except Exception:
            # it counts as an attempt too, so that one message cannot end process after process for ever
            await self._record(delivery, at, None, "fault")
            raise
        await self._record(delivery, at, status, error)

    async def _record(
        self, delivery: TakenDelivery, at: datetime, status: int | None, error: AttemptError | None
    ) -> None:
        if error is not None:
            log.warning("webhook_not_delivered", delivery=delivery.id, job=delivery.job, error=error, answer=status)
        attempt = DeliveryAttempt(at=at, http_status=status, error=error)
        pauses = [pause * random.uniform(1, 1 + JITTER) for pause in PAUSES]
        try:
            async with self._sessions.begin() as session:
                final = error in ("gone", "secret")
                await webhooks.record_attempt(session, delivery.id, attempt, pauses=pauses, final=final)
        except Exception as lost:
            if not self._outages.covers(lost):
                raise
            # the message is sent again when the lease is over
            log.warning("webhook_attempt_not_recorded", delivery=delivery.id, error=type(lost).__name__)

    async def _attempt(
        self, client: httpx.AsyncClient, delivery: TakenDelivery, at: datetime
    ) -> tuple[int | None, AttemptError | None]:
        secret = open_secret(delivery.sealed_secret, self._service_key, delivery.job)
        if secret is None:
            return None, "secret"
        message = {"type": delivery.type, "timestamp": delivery.created_at, "data": delivery.data}
        body = WebhookMessage.model_validate(message).model_dump_json().encode()
        headers = sign(secret, delivery.id, int(at.timestamp()), body)
        return await post(client, self._rules, delivery.url, body, headers)


def _end_process_after_failure(task: asyncio.Task[None]) -> None:
    """Has the process end as it does on SIGTERM, where the task failed: whatever runs it then starts another."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("webhook_sender_failed", exc_info=error)
        signal.raise_signal(signal.SIGTERM)
