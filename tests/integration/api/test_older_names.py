"""Fields that were renamed: the older name still works, and answers hold both."""

from typing import Any

import httpx
import pytest

from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.test_dry_runs import MINIMAL_REQUEST, register_model


@pytest.mark.parametrize("name", ["external_reference", "reference"])
async def test_a_job_takes_its_submitters_reference_under_either_name(
    service: Service, client: httpx.AsyncClient, name: str
) -> None:
    await register_ready_model(service, client)
    job = (await client.post("/v1/jobs", json={**MINIMAL_REQUEST, name: "DSR-7"})).json()
    await client.post("/v1/jobs", json={**MINIMAL_REQUEST, name: "DSR-8"})
    assert (job["external_reference"], job["reference"]) == ("DSR-7", "DSR-7")
    for filter_name in ("external_reference", "reference"):
        listed = (await client.get("/v1/jobs", params={filter_name: "DSR-7"})).json()["data"]
        assert [listed_job["id"] for listed_job in listed] == [job["id"]]


@pytest.mark.parametrize("route", ["/v1/jobs", "/v1/measurements"])
@pytest.mark.parametrize("name", ["retrained_model", "reference_model"])
async def test_a_retrained_model_is_named_by_either_name(
    service: Service, client: httpx.AsyncClient, route: str, name: str
) -> None:
    await register_ready_model(service, client)
    await register_model(service, client, "retrained", eos_token_id=2)
    measurement = (await client.post(route, json={**MINIMAL_REQUEST, name: "retrained"})).json()
    assert (measurement["retrained_model"], measurement["reference_model"]) == ("retrained", "retrained")


@pytest.mark.parametrize(
    ("route", "names"),
    [
        ("/v1/jobs", {"external_reference": "a", "reference": "b"}),
        ("/v1/jobs", {"retrained_model": "a", "reference_model": "b"}),
        ("/v1/measurements", {"retrained_model": "a", "reference_model": "b"}),
    ],
)
async def test_both_names_with_different_values_are_refused(
    service: Service, client: httpx.AsyncClient, route: str, names: dict[str, Any]
) -> None:
    await register_ready_model(service, client)
    refused = await client.post(route, json={**MINIMAL_REQUEST, **names})
    assert refused.status_code == 422
    name, older = names
    assert f"{older} is the older name of {name}" in refused.text


async def test_the_openapi_document_marks_older_names_as_deprecated(client: httpx.AsyncClient) -> None:
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    for schema, older in (
        ("JobRequest", "reference"),
        ("JobRequest", "reference_model"),
        ("Job", "reference"),
        ("Job", "reference_model"),
        ("MeasurementRequest", "reference_model"),
        ("Measurement", "reference"),
        ("JobMetrics", "reference"),
    ):
        assert schemas[schema]["properties"][older]["deprecated"] is True, (schema, older)
