"""The asynchronous client beside other tasks of its event loop."""

import threading
from io import BytesIO

from api.client import Retries
from api.client.call import Upload, create
from api.client.steps import send
from api.client.transport import AsyncTransport
from tests.integration.api.client.scripted_server import http_answer, scripted_server


class WatchedFile(BytesIO):
    """A file that notes the threads which read it."""

    readers: set[threading.Thread]

    def read(self, size: int | None = -1, /) -> bytes:
        self.readers.add(threading.current_thread())
        return super().read(size)


async def test_an_upload_is_read_beside_the_event_loop_at_each_attempt() -> None:
    file = WatchedFile(bytes(300_000))
    file.readers = set()
    later = http_answer("503 Service Unavailable")
    async with scripted_server(later, http_answer("201 Created")) as server:
        transport = AsyncTransport(server.url, "ulk_x", Retries(first_pause=0.01))
        async with transport.http:
            answer = await transport.run(send(create("/v1/files", Upload(file, "a.txt", "forget"), None)))
    assert answer.status_code == 201
    assert len(server.requests) == 2
    assert len(file.readers) > 0
    assert threading.current_thread() not in file.readers
