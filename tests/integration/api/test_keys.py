from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from api.auth import hash_key, new_api_key
from core.records import keys
from tests.integration.api.service import Service, make_settings, run_service, upload_records


async def test_no_key_and_a_wrong_key_are_401(service: Service) -> None:
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        for header in (None, "Bearer", "Bearer nonsense", f"Bearer {new_api_key()}", "Basic dTpw", "Bearer \xe9"):
            answer = await client.get("/v1/jobs", headers={"Authorization": header.encode("latin-1")} if header else {})
            assert answer.status_code == 401, header
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_key_is_shown_once_works_and_is_revoked(service: Service, client: httpx.AsyncClient) -> None:
    created = await client.post("/v1/keys", json={"name": "import", "scopes": ["files:write"]})
    assert created.status_code == 201
    key = created.json()
    secret = key.pop("key")
    assert secret.startswith(key["prefix"])
    assert (await client.get(f"/v1/keys/{key['id']}")).json() == key
    assert secret not in (await client.get("/v1/keys")).text
    theirs = {"Authorization": f"Bearer {secret}"}
    assert (await client.get("/v1/keys/self", headers=theirs)).json() == key
    revoked = await client.delete(f"/v1/keys/{key['id']}")
    assert revoked.json()["revoked_at"] is not None
    assert (await client.get("/v1/keys/self", headers=theirs)).status_code == 401
    assert (await client.delete("/v1/keys/key-none")).status_code == 404


async def test_only_a_keyed_hash_is_stored(service: Service, client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "a"}
    created = await client.post("/v1/keys", json={"name": "a", "scopes": ["admin"]}, headers=headers)
    again = await client.post("/v1/keys", json={"name": "a", "scopes": ["admin"]}, headers=headers)
    assert again.json() == created.json()
    secret = created.json()["key"]
    async with service.sessions() as session:
        for table in ("api_keys", "idempotency_keys"):
            # the cast writes bytes as hex
            rows = str((await session.scalars(text(f"SELECT CAST({table} AS text) FROM {table}"))).all())
            assert secret not in rows
            assert secret.encode().hex() not in rows
        assert await keys.find_by_hash(session, hash_key(secret, service.context.service_key)) is not None
        assert await keys.find_by_hash(session, hash_key(secret, b"x" * 32)) is None


async def test_an_expired_key_is_401(client: httpx.AsyncClient) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    created = await client.post("/v1/keys", json={"name": "old", "scopes": ["admin"], "expires_at": past})
    answer = await client.get("/v1/keys", headers={"Authorization": f"Bearer {created.json()['key']}"})
    assert answer.status_code == 401
    endless = {"name": "n", "scopes": ["admin"], "expires_at": "9999-12-31T23:59:59-23:59"}
    assert (await client.post("/v1/keys", json=endless)).status_code == 422


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["jobs:read"], {"GET /v1/jobs", "GET /v1/files", "GET /v1/models", "GET /v1/methods"}),
        (["jobs:write"], {"GET /v1/jobs", "GET /v1/files", "GET /v1/models", "GET /v1/methods", "POST /v1/jobs"}),
        (["files:write"], {"GET /v1/files", "GET /v1/models", "GET /v1/methods", "POST /v1/files"}),
        (["models:write"], {"GET /v1/models", "GET /v1/methods", "POST /v1/models"}),
        (["evidence:read"], {"GET /v1/models", "GET /v1/methods"}),
    ],
)
async def test_a_key_may_call_the_routes_of_its_scopes(service: Service, scopes: list[str], allowed: set[str]) -> None:
    routes = ["jobs", "files", "models", "methods", "keys"]
    operations = [f"GET /v1/{name}" for name in routes] + [f"POST /v1/{name}" for name in routes if name != "methods"]
    async with service.client(*scopes) as client:
        for route in operations:
            method, path = route.split()
            upload = {"files": {"file": ("a.txt", "b")}, "data": {}} if route == "POST /v1/files" else {"json": {}}
            answer = await client.request(method, path, **({} if method == "GET" else upload))  # type: ignore[arg-type]
            assert (answer.status_code != 403) == (route in allowed), (route, answer.text)


async def test_only_a_key_that_may_upload_downloads_a_file(service: Service) -> None:
    organisation = uuid4().hex
    async with service.client("files:write", organisation=organisation) as writer:
        file = await upload_records(writer, "forget")
        assert (await writer.get(f"/v1/files/{file}/content")).status_code == 200
    async with service.client("jobs:read", organisation=organisation) as reader:
        assert (await reader.get(f"/v1/files/{file}")).status_code == 200
        assert (await reader.get(f"/v1/files/{file}/content")).status_code == 403
    async with service.client() as stranger:
        for path in (f"/v1/files/{file}", f"/v1/files/{file}/content"):
            assert (await stranger.get(path)).status_code == 404
        assert (await stranger.delete(f"/v1/files/{file}")).status_code == 404


async def test_keys_in_the_operators_files_are_valid_after_every_start(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    expected = {"admin": ["admin"], "release": ["release:write", "jobs:read", "evidence:read"]}
    files = {name: tmp_path / f"{name}.key" for name in expected}
    for file in files.values():
        file.write_text(new_api_key() + "\n")
    named = {"admin_key_file": files["admin"], "release_key_file": files["release"]}
    settings = make_settings(tmp_path, database_url, redis_url, **named)
    for _ in range(2):
        async with run_service(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            for name, file in files.items():
                headers = {"Authorization": f"Bearer {file.read_text().strip()}"}
                answer = await client.get("/v1/keys/self", headers=headers)
                assert (answer.status_code, answer.json()["scopes"]) == (200, expected[name])
                assert (await client.get("/v1/service", headers=headers)).json()["release"] == "on_pass"
