"""`unlearn webhooks`: lists, shows and sends again the messages to webhooks."""

from typing import Annotated

import typer

from api.cli.listing import cell_text, fields, table
from api.cli.session import Session, service_command
from core.schema.webhooks import ATTEMPT_ERRORS, DeliveryAttempt, DeliveryStatus

app = typer.Typer(help="List, show and send again the messages that webhooks get.", no_args_is_help=True)

DeliveryId = Annotated[str, typer.Argument(metavar="DELIVERY", help="The message's id.")]
COLUMNS = ("delivery", "status", "job", "message", "attempts", "last answer", "next (UTC)", "url")


@app.command("list")
@service_command
def list_deliveries(
    session: Session,
    job: Annotated[str | None, typer.Option(help="Only messages about this job.")] = None,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only messages with this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="The number of messages to list.")] = 20,
    after: Annotated[str | None, typer.Option(help="List the messages that follow this one.")] = None,
) -> None:
    """List the messages that were sent, or will be, when jobs with a webhook ended; newest first."""
    page = session.client.webhooks.page(job=job, status=status, limit=limit, after=after)
    rows = [
        (it.id, it.status, it.job, it.type, len(it.attempts), _last(it.attempts), it.next_attempt_at, it.url)
        for it in page.data
    ]
    session.show_page(page, table(COLUMNS, rows, width=session.out.width, numbers=("attempts",)))


@app.command("show")
@service_command
def show(session: Session, delivery: DeliveryId) -> None:
    """Show a message and its attempts, with what went wrong in words."""
    it = session.client.webhooks.get(delivery)
    listing = {
        "delivery": it.id,
        "message": it.type,
        "job": it.job,
        "url": it.url,
        "status": it.status,
        "delivered (UTC)": it.delivered_at,
        "next attempt (UTC)": it.next_attempt_at,
    }
    lines = [f"{cell_text(attempt.at)}  {_answer(attempt)}" for attempt in it.attempts]
    session.show(it, fields(listing), *lines)


@app.command("redeliver")
@service_command
def redeliver(session: Session, delivery: DeliveryId) -> None:
    """Send a message again at once, whether it was delivered or not. Its id and its body stay the same."""
    it = session.client.webhooks.redeliver(delivery)
    session.show(it, f"{it.id} is sent again")


def _last(attempts: list[DeliveryAttempt]) -> str:
    return _status(attempts[-1]) if attempts else ""


def _answer(attempt: DeliveryAttempt) -> str:
    return _status(attempt) if attempt.error is None else f"{_status(attempt)}  {ATTEMPT_ERRORS[attempt.error]}"


def _status(attempt: DeliveryAttempt) -> str:
    return str(attempt.http_status) if attempt.http_status is not None else str(attempt.error)
