"""Webhook messages (Standard Webhooks 1.0): the body that is sent when a job ends, and its deliveries."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from core.schema.jobs import Outcome, Status
from core.schema.strict import Answer
from core.schema.verdict_parts import Verdict

MessageType = Literal["job.succeeded", "job.failed", "job.cancelled"]
DeliveryStatus = Literal["pending", "delivered", "failed"]

AttemptError = Literal[
    "unresolvable",
    "refused_address",
    "insecure",
    "connection",
    "tls",
    "timeout",
    "protocol",
    "redirect",
    "status",
    "gone",
    "secret",
    "fault",
]
ATTEMPT_ERRORS: Mapping[AttemptError, str] = MappingProxyType(
    {
        "unresolvable": "The host's name has no address.",
        "refused_address": "The host has an address that is not public, and that the operator does not allow.",
        "insecure": "The URL is `http`, which the operator no longer allows for this host.",
        "connection": "The host does not accept the connection, or closed it.",
        "tls": "The host's certificate is not valid, or TLS failed otherwise.",
        "timeout": "There was no answer in time.",
        "protocol": "The answer was not HTTP, or its headers were too large.",
        "redirect": "The answer was a redirect. Redirects are not followed.",
        "status": "The answer had another status than 2xx.",
        "gone": "The answer was 410: the receiver wants no more messages. Nothing is tried again.",
        "secret": "The secret cannot be decrypted: the service's key has changed.",
        "fault": "The service itself failed; its log says why.",
    }
)


class WebhookMessageData(Answer):
    """The job of a message. It holds no text and no figures: read them with a key."""

    id: str = Field(description="The job's id.", examples=["job-0190…"])
    status: Status = Field(description="The job's status: `succeeded`, `failed` or `cancelled`.")
    outcome: Outcome | None = Field(description="As the job's `outcome`.")
    verdict: Verdict | None = Field(description="As the job's `verdict`.")
    external_reference: str | None = Field(description="The submitter's own name for the request.")
    links: dict[str, str] = Field(description="Addresses of what belongs to the job, on this service.")


class WebhookMessage(Answer):
    """The body that is sent to a webhook's URL when a job ends."""

    type: MessageType = Field(description="How the job ended.")
    timestamp: datetime = Field(description="When the job ended.")
    data: WebhookMessageData = Field(description="The job.")


class DeliveryAttempt(Answer):
    """One request that the service made for a delivery."""

    at: datetime = Field(description="When the request was made.")
    http_status: int | None = Field(description="The status of the answer. Null: there was none.")
    error: AttemptError | None = Field(
        description="Why the attempt failed; null: it did not. "
        + " ".join(f"`{name}`: {meaning}" for name, meaning in ATTEMPT_ERRORS.items())
    )


class WebhookDelivery(Answer):
    """A message to a webhook, and the attempts to deliver it."""

    id: str = Field(description="The delivery's id, `delivery-…`: the header `webhook-id` of every attempt.")
    object: Literal["webhook.delivery"] = Field(default="webhook.delivery", description="Always `webhook.delivery`.")
    job: str = Field(description="The job's id.")
    type: MessageType = Field(description="The message's type.")
    url: str = Field(description="Where the message is sent to.")
    status: DeliveryStatus = Field(
        description="`pending`: there will be another attempt. `delivered`: an answer was 2xx. `failed`: no attempt is"
        " left; it can be delivered again."
    )
    attempts: list[DeliveryAttempt] = Field(description="The newest fifty attempts, oldest first.")
    next_attempt_at: datetime | None = Field(description="When the next attempt is made. Null: there is none.")
    created_at: datetime = Field(description="When the job ended.")
    delivered_at: datetime | None = Field(description="When the message was first delivered.")
