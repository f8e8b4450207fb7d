"""A receiver of webhooks as a process of its own: it verifies each message with the reference library.

`python -m tests.integration.webhooks.receiver SECRET [CERTIFICATE]` prints its port, then a line of JSON per request.
The path says how it answers.
"""

import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


class Handler(BaseHTTPRequestHandler):
    """Answers by the path: `/status/204`, `/failing/2/any`, `/redirect`, `/slow`, `/endless` and so on."""

    protocol_version = "HTTP/1.1"
    failures: dict[str, int] = {}
    printing = Lock()
    webhook: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            verified = self.webhook.verify(body, headers)
        except WebhookVerificationError as error:
            self._report(headers, body, error=str(error))
            self._answer(401)
            return
        self._report(headers, body, message=verified)
        name, *rest = self.path.strip("/").split("/")
        getattr(self, f"_answer_{name}")(*rest)

    def _report(self, headers: dict[str, str], body: bytes, **more: Any) -> None:
        line = {"path": self.path, "headers": headers, "body": body.decode(), "address": self.client_address[0], **more}
        with self.printing:  # threads that print at once mix their lines
            print(json.dumps(line), flush=True)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer_status(self, status: str) -> None:
        self._answer(int(status))

    def _answer_failing(self, times: str, _: str) -> None:
        count = self.failures[self.path] = self.failures.get(self.path, 0) + 1
        self._answer(500 if count <= int(times) else 200)

    def _answer_redirect(self) -> None:
        self._answer(307, Location="/status/200")

    def _answer_slow(self, _: str) -> None:
        time.sleep(600)

    def _answer_dripping(self) -> None:
        while True:
            self.wfile.write(b"H")
            time.sleep(0.05)

    def _answer_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 65536)

    def _answer_headers(self) -> None:
        self._answer(200, Large="x" * 1_000_000)

    def _answer_garbage(self) -> None:
        self.wfile.write(b"this is no HTTP\r\n\r\n")
        self.close_connection = True

    def _answer_nothing(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps standard error empty."""


class Server(ThreadingHTTPServer):
    """The senders of some tests hang up in the middle of an answer."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main(secret: str, certificate: str | None = None) -> None:
    Handler.webhook = Webhook(secret)
    server = Server(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
