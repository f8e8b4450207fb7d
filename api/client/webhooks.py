"""Messages to webhooks. A webhook itself is a field of the job: `webhook` of `jobs.create`."""

from api.client.answers import ask
from api.client.call import get, post, url_path
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Steps
from core.schema.pages import Page
from core.schema.webhooks import DeliveryStatus, WebhookDelivery


class Webhooks(Resource[Transport]):
    """`client.webhooks`: the messages that were sent, or will be, when jobs with a webhook ended."""

    @operation
    def get(self, delivery: str) -> Steps[WebhookDelivery]:
        """Returns the message with its attempts. Raises NotFound."""
        return ask(get(url_path("webhooks", "deliveries", delivery)), WebhookDelivery)

    @operation
    def page(
        self,
        *,
        job: str | None = None,
        status: DeliveryStatus | None = None,
        limit: int = 20,
        after: str | None = None,
    ) -> Steps[Page[WebhookDelivery]]:
        """Returns one page of the messages, newest first."""
        call = get(url_path("webhooks", "deliveries"), job=job, status=status, limit=limit, after=after)
        return ask(call, Page[WebhookDelivery])

    @stream
    def list(self, *, job: str | None = None, status: DeliveryStatus | None = None) -> Items[WebhookDelivery]:
        """Iterates over all messages, newest first."""
        return every(get(url_path("webhooks", "deliveries"), job=job, status=status), Page[WebhookDelivery])

    @operation
    def redeliver(self, delivery: str) -> Steps[WebhookDelivery]:
        """Has the message sent again at once, delivered or not, with the same id and body. Raises NotFound.

        It is not repeated after an answer that was lost: the message may be on its way.
        """
        return ask(post(url_path("webhooks", "deliveries", delivery, "redeliver")), WebhookDelivery)
