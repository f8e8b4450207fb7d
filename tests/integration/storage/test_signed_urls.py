"""URLs by which anybody reads one object for a while, as real stores answer them."""

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from core.storage import open_storage
from core.storage.objects import ObjectStorage
from tests.integration.storage.content import DATA, chunks

LIFETIME = timedelta(minutes=5)


@pytest.fixture(params=["s3", "azure"])
def storage(request: pytest.FixtureRequest) -> ObjectStorage:
    return ObjectStorage.open(str(request.getfixturevalue(f"{request.param}_url")))


async def test_a_signed_url_gives_this_object_and_no_other(storage: ObjectStorage) -> None:
    await storage.write("a/object", chunks(DATA))
    await storage.write("a/other", chunks(b"other"))
    url = await storage.signed_url("a/object", LIFETIME)
    assert url is not None
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(url)).content == DATA
        part = await client.get(url, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, DATA[10:20])
        assert (await client.get(url.replace("/object", "/other"))).status_code == 403
        assert (await client.get(url.partition("?")[0])).status_code in (401, 403, 404)
        assert (await client.put(url, content=b"x", headers={"x-ms-blob-type": "BlockBlob"})).status_code == 403


async def test_a_signed_url_ends_with_its_lifetime(storage: ObjectStorage) -> None:
    await storage.write("object", chunks(b"x"))
    url = await storage.signed_url("object", timedelta(seconds=2))
    assert url is not None
    async with httpx.AsyncClient(timeout=60) as client:
        assert (await client.get(url)).status_code == 200
        async with asyncio.timeout(60):
            while (answer := await client.get(url)).status_code == 200:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.2)
    assert answer.status_code == 403


async def test_a_database_and_a_folder_have_no_urls(engine: AsyncEngine, tmp_path: Path) -> None:
    for url in ("postgres://", f"file://{tmp_path}/objects"):
        assert await open_storage(url, engine).signed_url("a/object", LIFETIME) is None
