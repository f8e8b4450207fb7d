"""A dump of the database, restored after a purge, brings no forget data back: by pg_dump and pg_restore themselves."""

import base64
import hashlib
import hmac
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import make_url, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.embedded import Stack
from core.embedded.software import postgres_software
from core.records.tables import FileRow
from core.schema.sealed_segments import MAGIC
from core.storage.destroyed_files import purge_destroyed
from core.storage.file_keys import FileKeys, KeyDestroyed
from core.storage.sealed import WRAP_MAGIC
from core.storage.uploads import read_upload
from tests.integration.api.service import Service, make_settings, register_ready_model, run_service, upload
from tests.integration.api.worker_actions import claim_job, finish_job
from tests.servers import new_database

CANARY = "Orla Zorvek of Quillmere keeps nineteen bees"
RECORDS = f'{{"text": "{CANARY}"}}\n'


def run_program(name: str, url: str, *arguments: str) -> None:
    """Runs a client program of the embedded PostgreSQL on the database of a URL."""
    parts = make_url(url)
    host = parts.query.get("host", parts.host)
    environment = {**os.environ, "PGPASSWORD": parts.password or "", "PGUSER": parts.username or ""}
    environment |= {"PGHOST": str(host), "PGDATABASE": parts.database or ""}
    if parts.port:
        environment["PGPORT"] = str(parts.port)
    command = [str(postgres_software() / "bin" / name), "--no-password", *arguments]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]


def dump(url: str, file: Path) -> bytes:
    """Dumps the whole database as an operator does; returns the dump as SQL text."""
    run_program("pg_dump", url, "--format=custom", f"--file={file}")
    readable = file.with_suffix(".sql")
    run_program("pg_restore", url, f"--file={readable}", str(file))
    return readable.read_bytes()


@asynccontextmanager
async def restored(stack: Stack, file: Path) -> AsyncIterator[str]:
    """Yields the URL of a new database with the content of the dump."""
    async with new_database(stack) as url:
        run_program("pg_restore", url, "--no-owner", f"--dbname={make_url(url).database}", str(file))
        yield url


@asynccontextmanager
async def service_of(url: str, folder: Path, redis_url: str, *, key_store: Path | None) -> AsyncIterator[Service]:
    key_store_url = None if key_store is None else f"file://{key_store}"
    settings = make_settings(folder, url, redis_url, storage_url="postgres://", key_store_url=key_store_url)
    async with run_service(settings) as service:
        yield service


async def finish_forgetting(service: Service, client: httpx.AsyncClient) -> tuple[str, str]:
    """Runs a job on an uploaded forget file; returns the ids of both."""
    file = (await upload(client, RECORDS)).json()["id"]
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"file": file}})
    job = answer.json()["id"]
    await finish_job(service, job, await claim_job(service, job), {"config.json": b"{}"})
    return file, job


async def forget_set(client: httpx.AsyncClient, job: str) -> dict[str, Any]:
    described: dict[str, Any] = (await client.get(f"/v1/jobs/{job}")).json()["data"][0]
    return described


async def file_row(session: AsyncSession, file: str) -> FileRow | None:
    return await session.scalar(select(FileRow).where(FileRow.id == file))


async def read_text(service: Service, row: FileRow, keys: FileKeys) -> bytes:
    chunks = read_upload(service.context.storage, row.id, row.wrapped_key, keys)
    return b"".join([chunk async for chunk in chunks])


async def get(service: Service, key: str, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=service.url, headers={"Authorization": key}, timeout=60) as client:
        return await client.get(path)


def hex_of(data: bytes) -> bytes:
    """Returns bytes as a dump in SQL writes them."""
    return data.hex().encode()


async def test_a_restored_dump_brings_no_purged_file_back(
    stack: Stack, template_url: str, redis_url: str, tmp_path: Path
) -> None:
    organisation, file_dump = uuid4().hex, tmp_path / "before.dump"
    async with new_database(stack, template=template_url) as url:
        settings = make_settings(tmp_path, url, redis_url, storage_url="postgres://")
        async with run_service(settings) as service, service.client(organisation=organisation) as client:
            file, job = await finish_forgetting(service, client)
            key = client.headers["Authorization"]
            described = await forget_set(client, job)
            digest = hashlib.sha256(RECORDS.encode()).hexdigest()
            assert (described["sha256"], described["hmac_sha256"]) == (digest, None)

            content = dump(url, file_dump)
            assert hex_of(MAGIC) in content, "the dump holds the sealed text"
            assert hex_of(WRAP_MAGIC) not in content, "the dump holds a wrapped key"
            assert CANARY.encode() not in content

            assert (await client.delete(f"/v1/files/{file}")).status_code == 204
            described = await forget_set(client, job)
            service_key = base64.b64decode(settings.service_key_file.read_text())
            derived = hmac.digest(service_key, b"unlearning-service purged digests v1", "sha256")
            assert described["sha256"] is None
            assert described["hmac_sha256"] == hmac.digest(derived, digest.encode(), "sha256").hex()
            assert digest.encode() not in dump(url, tmp_path / "after.dump")

    async with restored(stack, file_dump) as url:
        async with service_of(url, tmp_path, redis_url, key_store=None) as service:
            # the row and the sealed bytes are back; without the key store nobody reads them
            async with service.sessions() as session:
                row = await file_row(session, file)
            assert row is not None
            with pytest.raises(KeyDestroyed):
                await read_text(service, row, service.context.file_keys)
        async with service_of(url, tmp_path, redis_url, key_store=tmp_path / "keys") as service:
            # the start has deleted it again, digest and bytes included
            async with httpx.AsyncClient(base_url=service.url, headers={"Authorization": key}, timeout=60) as client:
                assert (await client.get(f"/v1/files/{file}")).status_code == 404
                assert (await client.get(f"/v1/files/{file}/content")).status_code == 404
                described = await forget_set(client, job)
                assert (described["sha256"], len(described["hmac_sha256"])) == (None, 64)
                purged = (await client.get("/v1/audit", params={"action": "file.purged"})).json()["data"]
                assert [entry["object"] for entry in purged] == [file]
            assert [key async for key, _ in service.context.storage.list("files") if key == f"files/{file}"] == []
            assert digest.encode() not in dump(url, tmp_path / "again.dump")


async def test_without_a_key_store_a_restored_dump_does_bring_the_text_back(
    stack: Stack, template_url: str, redis_url: str, tmp_path: Path
) -> None:
    """The reason for the key store, and the proof that the test above could fail."""
    async with (
        new_database(stack, template=template_url) as url,
        service_of(url, tmp_path, redis_url, key_store=None) as service,
        service.client() as client,
    ):
        file = (await upload(client, RECORDS)).json()["id"]
        assert hex_of(WRAP_MAGIC) in dump(url, tmp_path / "a.dump")
        assert (await client.delete(f"/v1/files/{file}")).status_code == 204
    async with (
        restored(stack, tmp_path / "a.dump") as url,
        service_of(url, tmp_path, redis_url, key_store=None) as service,
    ):
        async with service.sessions() as session:
            row = await file_row(session, file)
        assert row is not None
        assert await read_text(service, row, service.context.file_keys) == RECORDS.encode()


async def test_keys_move_from_the_database_to_the_key_store_when_the_service_starts(
    stack: Stack, template_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with new_database(stack, template=template_url) as url:
        async with service_of(url, tmp_path, redis_url, key_store=None) as service, service.client() as client:
            file = (await upload(client, RECORDS)).json()["id"]
            key = client.headers["Authorization"]
        async with service_of(url, tmp_path, redis_url, key_store=tmp_path / "keys") as service:
            async with service.sessions() as session:
                row = await file_row(session, file)
            assert row is not None
            assert row.wrapped_key is None
            assert (tmp_path / "keys" / "keys" / file).read_bytes().startswith(WRAP_MAGIC)
            assert hex_of(WRAP_MAGIC) not in dump(url, tmp_path / "moved.dump")
            assert (await get(service, key, f"/v1/files/{file}/content")).content == RECORDS.encode()


async def test_another_key_store_deletes_nothing(
    stack: Stack, template_url: str, redis_url: str, tmp_path: Path
) -> None:
    """An empty folder, such as a disk that is not mounted, has no marks of deleted files."""
    async with new_database(stack, template=template_url) as url:
        async with (
            service_of(url, tmp_path, redis_url, key_store=tmp_path / "keys") as service,
            service.client() as client,
        ):
            file = (await upload(client, RECORDS)).json()["id"]
            key = client.headers["Authorization"]
        async with service_of(url, tmp_path, redis_url, key_store=tmp_path / "empty") as service:
            assert (await get(service, key, f"/v1/files/{file}")).status_code == 200
            assert (await get(service, key, f"/v1/files/{file}/content")).status_code == 404
        async with service_of(url, tmp_path, redis_url, key_store=tmp_path / "keys") as service:
            assert (await get(service, key, f"/v1/files/{file}/content")).content == RECORDS.encode()


async def test_a_purge_that_was_interrupted_before_its_key_is_finished_later(
    service: Service, client: httpx.AsyncClient
) -> None:
    file = (await upload(client, RECORDS)).json()["id"]
    keys = service.context.file_keys
    assert keys.store is not None
    await keys.store.mark_destroyed(file)
    assert await purge_destroyed(service.sessions, service.context.storage, keys) == 1
    assert await keys.store.get(file) is None
    assert (await client.get(f"/v1/files/{file}")).status_code == 404
