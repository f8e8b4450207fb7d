"""The Celery application: a hint makes a thread look for work. The broker holds nothing that must not be lost."""

import signal
from typing import Any

import kombu
from celery import Celery
from celery.app.amqp import AMQP
from celery.apps import worker

from core.queue import HINT_TASK

RETRY_SECONDS = 2
"""Kombu's own pauses grow to half a minute, and jobs would wait that long after the broker is back."""


class Connection(kombu.Connection):  # type: ignore[misc]  # Kombu has no types
    """Tries to reach a broker that is down every two seconds."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        return super().ensure_connection(*args, **{"interval_max": RETRY_SECONDS, **kwargs})


class Amqp(AMQP):  # type: ignore[misc]
    Connection = Connection


def make_app(redis_url: str) -> Celery:
    """Returns an application on this Redis, ready to publish and to consume."""
    app = Celery("unlearn", broker=redis_url, amqp=Amqp, set_as_current=False)
    app.conf.update(
        # the claim in Postgres decides who works; a message is acknowledged as it arrives and may come twice
        task_acks_late=False,
        task_ignore_result=True,
        result_backend=None,
        # a hint stays in Redis until a thread is free, so that another worker's free thread can have it
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        # a short loss of Redis must not end an hour's work; a worker that starts before Redis must not end
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=2.0,
        task_publish_retry=False,
        broker_transport_options={
            # without these timeouts a Redis that is paused or cut off blocks for ever
            "socket_timeout": 10.0,
            "socket_connect_timeout": 5.0,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "visibility_timeout": 600,
        },
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_serializer="json",
        accept_content=["json"],
    )
    return app


class Worker(worker.Worker):  # type: ignore[misc]  # Celery has no types
    """Celery's worker, with Ctrl-C treated as SIGTERM: Celery's own treatment abandons running tasks."""

    def install_platform_tweaks(self, worker: object) -> None:
        super().install_platform_tweaks(worker)
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))


def publish_hint(app: Celery, topic: str, payload: dict[str, Any]) -> None:
    """Publishes a hint. Raises the errors of kombu and redis where the broker does not take it."""
    app.send_task(HINT_TASK, kwargs=payload, queue=topic, ignore_result=True, retry=False)


def pending_hints(app: Celery, topic: str) -> int:
    """Returns the number of hints in this queue that no worker has fetched yet."""
    with app.connection_for_write() as connection:
        declared = connection.default_channel.queue_declare(queue=topic)
        return int(declared.message_count)
