"""Jobs that are cancelled, paused, resumed or retried by request."""

import httpx

from core.records import leases
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import submit_job
from tests.integration.api.worker_actions import claim_job


async def test_a_waiting_job_is_cancelled_at_once_and_a_running_job_after_its_worker_stops(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    waiting, running = [await submit_job(client, **{"from": "base"}) for _ in range(2)]
    answer = await client.post(f"/v1/jobs/{waiting['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    again = await client.post(f"/v1/jobs/{waiting['id']}/cancel")
    assert (again.status_code, again.json()["detail"]) == (409, "the job is cancelled")
    await claim_job(service, running["id"])
    cancelled = (await client.post(f"/v1/jobs/{running['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["requested"]) == ("running", "cancel")


async def test_a_job_is_paused_resumed_and_retried(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    job = await submit_job(client, **{"from": "base"})
    path = f"/v1/jobs/{job['id']}"
    assert job["links"]["pause"] == f"{path}/pause"

    async def act(name: str) -> tuple[int, str, str | None]:
        answer = await client.post(f"{path}/{name}")
        body = answer.json()
        return answer.status_code, body.get("detail", body["status"]), body.get("requested")

    assert await act("pause") == (202, "paused", None)
    assert await act("pause") == (409, "the job is paused", None)
    assert await act("resume") == (202, "queued", None)
    assert await act("resume") == (409, "the job is queued", None)
    fence = await claim_job(service, job["id"])
    assert await act("pause") == (202, "running", "pause")
    assert await act("resume") == (202, "running", None)
    assert await act("retry") == (409, "the job is running", None)
    error: dict[str, object] = {"code": "x", "message": "x", "blame": "service", "retryable": True}
    async with service.sessions.begin() as session:
        row = await leases.lock_job(session, job["id"], fence)
        await leases.fail_or_retry(session, row, error, max_failures=1)
    assert await act("retry") == (202, "queued", None)
    assert (await client.get(path)).json()["error"] is None
    async with service.client() as stranger:
        for name in ("pause", "resume", "retry"):
            assert (await stranger.post(f"{path}/{name}")).status_code == 404


async def test_a_job_with_a_deleted_file_cannot_be_retried(service: Service, client: httpx.AsyncClient) -> None:
    model = await register_ready_model(service, client)
    job = await submit_job(client, **{"from": "base"})
    fence = await claim_job(service, job["id"])
    async with service.sessions.begin() as session:
        row = await leases.lock_job(session, job["id"], fence)
        error: dict[str, object] = {"code": "x", "message": "x", "blame": "service", "retryable": True}
        await leases.fail_or_retry(session, row, error, max_failures=1)
    assert (await client.delete(f"/v1/files/{model['defaults']['retain']}")).status_code == 204
    refused = await client.post(f"/v1/jobs/{job['id']}/retry")
    assert refused.status_code == 409
    assert "deleted" in refused.json()["detail"]
