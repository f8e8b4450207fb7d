"""A fake Hugging Face Hub on 127.0.0.1, with the part of the protocol that downloads a snapshot."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "f" * 40


@contextmanager
def hub(repository: str, directory: Path, *, token: str) -> Iterator[tuple[str, list[str]]]:
    """Serves `directory` as the only commit of the repository; yields the URL and the list of requested paths."""
    requested_paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self._answer(head=True)

        def do_GET(self) -> None:
            self._answer(head=False)

        def _answer(self, *, head: bool) -> None:
            path = urlsplit(self.path).path
            requested_paths.append(path)
            if self.headers.get("Authorization") != f"Bearer {token}":
                self._send(401, b"", {"X-Error-Code": "RepoNotFound"})
                return
            about, files = f"/api/models/{repository}", f"/{repository}/resolve/{COMMIT}/"
            if path in (f"{about}/revision/main", f"{about}/revision/{COMMIT}", about):
                # the branch gets a new commit after the first request
                sha = LATER if path.endswith("/main") and requested_paths.count(path) > 1 else COMMIT
                names = [{"rfilename": file.name} for file in sorted(directory.iterdir())]
                body = {
                    "id": repository,
                    "sha": sha,
                    "siblings": names,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                }
                self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
            elif path.startswith(about + "/tree/"):
                tree = [self._entry(file) for file in sorted(directory.iterdir())]
                self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
            elif path.startswith(files) and (directory / path.removeprefix(files)).is_file():
                body = (directory / path.removeprefix(files)).read_bytes()
                etag = hashlib.sha256(body).hexdigest()
                self._send(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, head=head)
            else:
                code = "RevisionNotFound" if "/revision/" in path else "EntryNotFound"
                self._send(404, b"", {"X-Error-Code": code})

        def _entry(self, file: Path) -> dict[str, object]:
            oid = hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
            return {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": oid}

        def _send(self, status: int, body: bytes, headers: dict[str, str], *, head: bool = False) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if not head and self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requested_paths
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
