"""Real servers of object storage on this machine: SeaweedFS for S3, Azurite for Azure's blobs."""

import base64
import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from uuid import uuid4

import httpx

FOLDER = Path(sys.prefix) / "object-stores"
"""`make .venv/object-stores/installed` puts the servers here."""
WEED = FOLDER / "bin" / "weed"
AZURITE = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"

REMEDY = "run `make .venv/object-stores/installed`"
START_SECONDS = 60

BUCKET = "unlearning"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account of Azurite's documentation."""


@dataclass(frozen=True)
class ObjectStore:
    """A running server: the URL of a bucket, and the variables with its address and credentials."""

    url: str
    environment: dict[str, str]

    def new_prefix(self) -> str:
        """Returns a STORAGE_URL under which nothing is stored."""
        return f"{self.url}/{uuid4().hex}"


def why_no_s3() -> str | None:
    """Returns why S3 cannot be tested here; None: it can."""
    return None if WEED.is_file() else f"SeaweedFS is not installed: {REMEDY}"


def why_no_azure() -> str | None:
    """Returns why Azure's storage cannot be tested here; None: it can."""
    if shutil.which("node") is None:
        return "there is no node to run Azurite"
    return None if AZURITE.is_file() else f"Azurite is not installed: {REMEDY}"


@contextmanager
def s3_server() -> Iterator[ObjectStore]:
    """Runs SeaweedFS, which checks signatures and makes the bucket with its first object."""
    with tempfile.TemporaryDirectory(prefix="weed-") as folder:
        key, secret = uuid4().hex, uuid4().hex
        actions = ["Admin", "Read", "Write", "List"]
        identity = {"name": "test", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        config = Path(folder, "s3.json")
        config.write_text(json.dumps({"identities": [identity]}))
        ports = {name: free_port() for part in ("master", "volume", "filer", "s3") for name in (part, f"{part}.grpc")}
        flags = [
            f"-{name.partition('.')[0]}.port{name.removeprefix(name.partition('.')[0])}={port}"
            for name, port in ports.items()
        ]
        command = [WEED, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", *flags]
        command += [f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=8"]
        command += ["-master.volumeSizeLimitMB=64", "-master.telemetry=false"]
        url = f"http://127.0.0.1:{ports['s3']}"
        with _process(command, url, folder):
            environment = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
            yield ObjectStore(f"s3://{BUCKET}", environment | {"AWS_ENDPOINT": url, "AWS_ALLOW_HTTP": "true"})


@contextmanager
def azure_server() -> Iterator[ObjectStore]:
    """Runs Azurite's blob service with one container."""
    with tempfile.TemporaryDirectory(prefix="azurite-") as folder:
        port = free_port()
        command = ["node", AZURITE, "--location", folder, "--blobPort", str(port), "--silent", "--disableTelemetry"]
        url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        with _process([*command, "--skipApiVersionCheck"], url, folder):
            _make_container(url)
            environment = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY}
            yield ObjectStore(
                f"az://{BUCKET}", environment | {"AZURE_STORAGE_ENDPOINT": url, "AZURE_ALLOW_HTTP": "true"}
            )


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _process(command: Sequence[str | Path], url: str, folder: str) -> Iterator[None]:
    """Runs a server until the block ends; the block begins when the server answers."""
    log = Path(folder, "server.log")
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(url):
                assert server.poll() is None, log.read_text(errors="replace")[-2000:]
                assert time.monotonic() < deadline, f"{command[0]} does not answer"
                time.sleep(0.1)
            yield
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=60).status_code < 500
    except httpx.TransportError:
        return False


def _make_container(url: str) -> None:
    """Makes the container, signed by the account's key (Microsoft, "Authorize with Shared Key")."""
    date, version = formatdate(usegmt=True), "2021-08-06"
    signed = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n"
    signed += f"/{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    signature = hmac.digest(base64.b64decode(ACCOUNT_KEY), signed.encode(), hashlib.sha256)
    authorization = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": authorization}
    httpx.put(f"{url}/{BUCKET}", params={"restype": "container"}, headers=headers, timeout=60).raise_for_status()
