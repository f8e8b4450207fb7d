from typing import Any

import httpx
import pytest_asyncio

OPEN = {"/healthz", "/readyz", "/metrics"}


@pytest_asyncio.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]


async def test_every_operation_says_what_it_is_and_which_errors_it_has(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["description"], (path, method)
        if path in OPEN:
            continue
        assert operation["security"] == [{"API key": []}], (path, method)
        problems = {
            status
            for status, answer in operation["responses"].items()
            if "application/problem+json" in answer.get("content", {})
        }
        expected = {"401", "403", "422", "429", "500"} | ({"404"} if "{" in path else set())
        assert expected <= problems, (path, method)
        said = [one in operation["description"] for one in ("Scope: ", "Any key may ask")]
        assert sum(said) == 1, (path, method)


async def test_every_reference_resolves_and_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [value for key, value in node.items() if key == "$ref"] + [
                one for value in node.values() for one in references(value)
            ]
        return [one for value in node for one in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


async def test_posts_that_make_something_take_an_idempotency_key(document: dict[str, Any]) -> None:
    for path in ("/v1/files", "/v1/models", "/v1/policies", "/v1/jobs", "/v1/keys"):
        parameters = document["paths"][path]["post"]["parameters"]
        assert "idempotency-key" in {one["name"].lower() for one in parameters}
