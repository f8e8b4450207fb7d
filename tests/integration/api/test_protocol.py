import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import structlog

from api.auth import new_api_key
from core.embedded import Stack
from core.records import keys
from core.records.migrate import upgrade
from tests.integration.api.service import (
    Service,
    make_settings,
    register_ready_model,
    run_service,
    upload,
    upload_records,
    wait_until,
)
from tests.servers import execute, new_database

CANARY = "Zorvek Halmi, 12 Pell Lane"


async def send_raw(service: Service, request: bytes) -> bytes:
    """Sends the bytes and returns the server's answer."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    await writer.wait_closed()
    return answer


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Returns status and name of a complete problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["instance"] == answer.headers["x-request-id"]
    assert body["title"]
    return answer.status_code, body["type"].rpartition(":")[2]


async def test_every_error_is_a_problem_document(client: httpx.AsyncClient) -> None:
    assert problem(await client.get("/nowhere")) == (404, "not-found")
    assert problem(await client.put("/v1/jobs", json={})) == (405, "method-not-allowed")
    assert problem(await client.get("/v1/jobs/job-none")) == (404, "not-found")
    assert problem(await client.get("/v1/jobs/%00")) == (422, "invalid-request")
    assert problem(await client.get("/v1/jobs", params={"limit": "x"})) == (422, "invalid-request")
    for sent in (b"{", b'{"model": "\\ud800"}', b"[" * 5000, b'{"a": NaN}', b"\xff"):
        broken = await client.post("/v1/jobs", content=sent, headers={"Content-Type": "application/json"})
        assert problem(broken) == (422, "invalid-json")
    for content, sent in ((b"a: b", "text/yaml"), (b"{}", "multipart/form-data; boundary=x"), (b"{}", "")):
        wrong = await client.post("/v1/jobs", content=content, headers={"Content-Type": sent})
        assert problem(wrong) == (415, "unsupported-media-type")
    assert problem(await client.post("/v1/files", json={})) == (415, "unsupported-media-type")
    unauthorized = await client.get("/v1/jobs", headers={"Authorization": ""})
    assert problem(unauthorized) == (401, "unauthorized")


async def test_an_invalid_query_parameter_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/jobs", params={"limit": 0})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["limit"]


async def test_a_body_over_the_limit_is_refused_before_it_is_read(service: Service) -> None:
    for path, kind in (("/v1/jobs", "application/json"), ("/v1/files", "multipart/form-data; boundary=b")):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: 9000000000\r\n\r\n"
        answer = await send_raw(service, head.encode())
        assert answer.startswith(b"HTTP/1.1 413"), answer
        assert b"application/problem+json" in answer


async def test_a_body_without_content_length_is_limited_by_counting(
    service: Service, client: httpx.AsyncClient
) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 100 << 20:
            taken += 1 << 20
            yield b" " * (1 << 20)

    answer = await client.post("/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
    assert problem(answer) == (413, "content-too-large")


async def test_the_request_id_is_the_clients_or_a_new_one(client: httpx.AsyncClient) -> None:
    unchanged = await client.get("/healthz", headers={"X-Request-ID": "abc-1"})
    assert unchanged.headers["x-request-id"] == "abc-1"
    for unfit in ("a b", "x" * 200, 'a"b'):
        replaced = await client.get("/healthz", headers={"X-Request-ID": unfit})
        assert replaced.headers["x-request-id"] not in ("", unfit)


async def test_a_key_over_its_rate_limit_is_429(database_url: str, redis_url: str, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, database_url, redis_url, rate_limit_per_minute=5)
    async with run_service(settings) as service, service.client() as client, service.client() as other:
        answers = [await client.get("/v1/methods") for _ in range(6)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=5;w=60'
        assert answers[0].headers["ratelimit"] == '"key";r=4;t=0'
        assert problem(answers[-1]) == (429, "too-many-requests")
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 12
        assert (await other.get("/v1/methods")).status_code == 200
        assert (await client.get("/healthz")).status_code == 200


async def test_an_unknown_error_is_500_without_details(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise LookupError(CANARY)

    monkeypatch.setattr(keys, "page", broken)
    with structlog.testing.capture_logs() as logged:
        answer = await client.get("/v1/keys")
    assert problem(answer) == (500, "internal")
    assert CANARY not in answer.text + str(logged)
    (failure,) = [line for line in logged if line["event"] == "request_failed"]
    assert (failure["error"], failure["request_id"]) == ("LookupError", answer.headers["x-request-id"])
    assert any("broken" in place for place in failure["places"])


async def test_a_lost_database_is_503_and_the_process_stays_alive(
    stack: Stack, redis_url: str, clean_database_url: str, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path, clean_database_url, redis_url)
    async with run_service(settings) as service, service.client() as client:
        assert (await client.get("/readyz")).json() == {
            "ready": True,
            "database": "ok",
            "storage": "ok",
            "broker": "ok",
        }
        name = clean_database_url.rpartition("/")[2].partition("?")[0]
        superuser = stack.superuser_url
        await execute(superuser, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await execute(superuser, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            unavailable = await client.get("/v1/jobs")
            assert problem(unavailable) == (503, "unavailable")
            assert unavailable.headers["retry-after"]
            readiness = await client.get("/readyz")
            assert (readiness.status_code, readiness.json()["database"]) == (503, "unreachable")
            assert (await client.get("/healthz")).status_code == 200
        finally:
            await execute(superuser, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert (await client.get("/v1/jobs")).status_code == 200


async def test_no_path_is_redirected_to_another_address(client: httpx.AsyncClient) -> None:
    for path in ("/v1/jobs/", "/v1/files/", "/healthz/"):
        assert problem(await client.get(path, headers={"Host": "elsewhere.example"})) == (404, "not-found")


@pytest.mark.parametrize("host", ["/nowhere/at/all", "no-such-host.invalid"])
async def test_an_unreachable_database_host_is_503(redis_url: str, tmp_path: Path, host: str) -> None:
    settings = make_settings(tmp_path, f"postgresql+asyncpg://unlearn:x@/unlearn?host={host}", redis_url)
    async with run_service(settings) as service:
        headers = {"Authorization": f"Bearer {new_api_key()}"}
        async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60) as client:
            answer = await client.get("/v1/jobs")
        assert problem(answer) == (503, "unavailable")
        assert "nowhere" not in answer.text


async def test_without_a_broker_the_service_is_ready_and_accepts_jobs(database_url: str, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, database_url, f"redis+socket://{tmp_path}/none")
    async with run_service(settings) as service, service.client() as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["broker"]) == (200, "unreachable")
        await register_ready_model(service, client)
        accepted = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
        assert accepted.status_code == 202


async def test_a_service_that_starts_before_the_migration_is_ready_after_it(
    redis_url: str, tmp_path: Path, stack: Stack
) -> None:
    key = new_api_key()
    (tmp_path / "admin.key").write_text(key)
    async with new_database(stack) as url:
        settings = make_settings(tmp_path, url, redis_url, admin_key_file=tmp_path / "admin.key")
        async with run_service(settings) as service, httpx.AsyncClient(base_url=service.url, timeout=60) as client:
            early = await client.get("/readyz")
            assert (early.status_code, early.json()["database"]) == (503, "not_migrated")
            headers = {"Authorization": f"Bearer {key}"}
            assert problem(await client.get("/v1/jobs", headers=headers)) == (503, "unavailable")
            await upgrade(url)
            await wait_until(lambda: service.context.startup.complete)
            assert (await client.get("/readyz")).json()["ready"] is True
            assert (await client.get("/v1/jobs", headers=headers)).status_code == 200


async def test_metrics_count_requests_by_their_template(service: Service, client: httpx.AsyncClient) -> None:
    await client.get("/v1/jobs/job-none")
    await client.get("/nowhere")
    text = (await client.get("/metrics")).text
    assert 'unlearning_http_requests_total{method="GET",route="/v1/jobs/{job}",status="404"}' in text
    assert 'unlearning_http_requests_total{method="GET",route="unmatched",status="404"}' in text
    for status in ("queued", "running", "paused"):
        assert f'unlearning_jobs{{status="{status}"}}' in text
    assert "unlearning_checkpoints_waiting " in text
    assert f'unlearning_build_info{{version="{version("unlearning-service")}"}} 1.0' in text
    assert "job-none" not in text


async def test_requests_that_are_held_open_do_not_count_as_slow(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    submitted = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}, "from": "base"})
    path = f"/v1/jobs/{submitted.json()['id']}"

    async def duration_counts() -> list[str]:
        text = (await client.get("/metrics")).text
        counts = [
            line for line in text.splitlines() if line.startswith("unlearning_http_request_duration_seconds_count")
        ]
        return [line for line in counts if 'route="/v1/jobs/{job}"' in line or 'route="/v1/jobs/{job}/events"' in line]

    before = await duration_counts()
    await client.get(path, params={"wait": 0.2})
    async with client.stream("GET", f"{path}/events", headers={"Accept": "text/event-stream"}) as answer:
        await anext(answer.aiter_bytes())
    assert await duration_counts() == before


async def test_methods_are_described(client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/methods")).json()
    names = [method["name"] for method in page["data"]]
    assert {"calibrated", "gradient_ascent", "ascent_kl"} <= set(names)
    method = (await client.get("/v1/methods/ascent_kl")).json()
    assert method in page["data"]
    assert set(method["defaults"]) == set(method["parameters"]["properties"])
    assert problem(await client.get("/v1/methods/magic")) == (404, "not-found")


async def test_no_records_text_is_in_any_log_or_error(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    seen: list[str] = []
    with structlog.testing.capture_logs() as logged:
        for body in (
            {"model": "demo", "forget": {"records": [CANARY]}},
            {"model": CANARY, "forget": {"records": [{"text": CANARY, CANARY: 1}]}},
            {"model": "demo", "forget": {"records": [CANARY, "\0" + CANARY]}, "reference": "\0"},
            {"model": "demo", "forget": {"records": [{"messages": [{"role": CANARY, "content": CANARY}]}]}},
            {"model": "demo", "forget": {"records": [{"prompt": CANARY, "completion": 7}]}},
            {"model": "demo", "forget": CANARY},
        ):
            seen.append((await client.post("/v1/jobs", json=body)).text)
        cut = f'{{"a": "{CANARY}'.encode()
        answer = await client.post("/v1/jobs", content=cut, headers={"Content-Type": "application/json"})
        seen.append(answer.text)
        lines = (("a.jsonl", f'{{"text": "a"}}\n{{"{CANARY}"'), ("a.csv", f"{CANARY}\n"), ("a.csv", f'text\n"{CANARY}'))
        for name, text in lines:
            seen.append((await upload(client, text, name=name)).text)
        file = await upload_records(client, "forget")
        seen.append((await client.get("/v1/files")).text)
        await client.get(f"/v1/files/{file}/content", params={"note": CANARY})
    assert CANARY not in str(logged) + "".join(seen)
    assert "12 Pell Lane" not in str(logged) + "".join(seen)


async def test_a_log_line_holds_the_key_the_route_and_the_status(service: Service, client: httpx.AsyncClient) -> None:
    with structlog.testing.capture_logs() as logged:
        await client.get("/v1/jobs/job-none", headers={"X-Request-ID": "r1"})
        await asyncio.sleep(0)
    (line,) = [line for line in logged if line.get("request_id") == "r1"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs/{job}", 404)
    assert line["key"].startswith("key-")
