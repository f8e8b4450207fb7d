"""The lineage of a model: which checkpoint came from which, released or not, and which of them the head came from."""

from typing import Any

import httpx

from core.schema.verdict_parts import Verdict
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.submission import submit_job
from tests.integration.api.worker_actions import claim_job, finish_job


async def made(service: Service, client: httpx.AsyncClient, verdict: Verdict = "passed", **more: Any) -> str:
    """Brings a job to its end and returns its checkpoint's id."""
    job = (await submit_job(client, **more))["id"]
    return await finish_job(service, job, await claim_job(service, job), {"config.json": b"{}"}, verdict=verdict)


async def lineage(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/models/demo/lineage", params=query)
    assert answer.status_code == 200, answer.text
    entries: list[dict[str, Any]] = answer.json()["data"]
    return entries


async def test_each_checkpoint_has_the_one_that_it_came_from(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    assert await lineage(client) == []
    first = await made(service, client, external_reference="DSR-1")
    missed = await made(service, client, "failed")
    second = await made(service, client)
    aside = await made(service, client, **{"from": "base"})
    await submit_job(client)  # it has made nothing yet
    shown = [
        (entry["checkpoint"], entry["parent"], entry["released"], entry["in_head"]) for entry in await lineage(client)
    ]
    assert shown == [
        (aside, None, True, False),
        (second, first, True, True),
        (missed, first, False, False),
        (first, None, True, True),
    ]
    (*_, entry) = await lineage(client)
    job = (await client.get(f"/v1/jobs/{entry['job']}")).json()
    assert (job["checkpoint"], entry["external_reference"], entry["verdict"]) == (first, "DSR-1", "passed")


async def test_descendants_are_found_over_any_number_of_jobs(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    chain = [await made(service, client) for _ in range(4)]
    aside = await made(service, client, **{"from": "base"})
    descendants = [entry["checkpoint"] for entry in await lineage(client, descends_from=chain[0])]
    assert descendants == chain[:0:-1]
    assert await lineage(client, descends_from=aside) == []
    first = (await client.get("/v1/models/demo/lineage", params={"descends_from": chain[0], "limit": 2})).json()
    rest = await lineage(client, descends_from=chain[0], limit=2, after=first["last_id"])
    assert ([entry["checkpoint"] for entry in first["data"]], first["has_more"]) == ([chain[3], chain[2]], True)
    assert [entry["checkpoint"] for entry in rest] == [chain[1]]


async def test_another_organisations_lineage_and_checkpoints_stay_unknown(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    own = await made(service, client)
    async with service.client() as stranger:
        assert (await stranger.get("/v1/models/demo/lineage")).status_code == 404
        await register_ready_model(service, stranger)
        assert await lineage(stranger) == []
        unknown = await stranger.get("/v1/models/demo/lineage", params={"descends_from": own})
        assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "descends_from")


async def test_a_model_that_is_registered_again_has_no_checkpoints_of_the_one_before(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    await made(service, client)
    assert (await client.delete("/v1/models/demo")).status_code == 204
    await register_ready_model(service, client)
    assert await lineage(client) == []
