from typing import Any

import httpx
import pytest_asyncio
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

OPEN = {"/healthz", "/readyz", "/metrics", "/.well-known/jwks.json", "/.well-known/statement.schema.json"}


@pytest_asyncio.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return document


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, operation) for path, item in document["paths"].items() for method, operation in item.items()]


async def test_every_operation_has_a_summary_a_description_and_its_errors(document: dict[str, Any]) -> None:
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
        expected = {"401", "403", "422", "429", "500", "503"} | ({"404"} if "{" in path else set())
        if "requestBody" in operation:
            expected |= {"413", "415"}
        assert expected <= problems, (path, method)
        assert all(answer["description"] for answer in operation["responses"].values()), (path, method)
        access = [phrase in operation["description"] for phrase in ("Scope: ", "Any key may ask")]
        assert sum(access) == 1, (path, method)


async def test_every_reference_resolves_and_operation_ids_are_unique(document: dict[str, Any]) -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            return [value for key, value in node.items() if key == "$ref"] + [
                reference for value in node.values() for reference in references(value)
            ]
        return [reference for value in node for reference in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))


async def test_posts_that_create_something_take_an_idempotency_key(document: dict[str, Any]) -> None:
    for path in ("/v1/files", "/v1/models", "/v1/policies", "/v1/jobs", "/v1/keys"):
        parameters = document["paths"][path]["post"]["parameters"]
        assert "idempotency-key" in {parameter["name"].lower() for parameter in parameters}


async def test_every_property_and_parameter_is_described(document: dict[str, Any]) -> None:
    undescribed = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, property in schema.get("properties", {}).items()
        if "description" not in property
    ]
    undescribed += [
        f"{method} {path} {parameter['name']}"
        for path, method, operation in operations(document)
        for parameter in operation.get("parameters", [])
        if "description" not in parameter
    ]
    assert undescribed == []


async def test_operation_ids_are_function_names_and_the_document_names_its_server(document: dict[str, Any]) -> None:
    names = {operation["operationId"] for _, _, operation in operations(document)}
    assert {"list_jobs", "submit_job", "get_job", "upload_file", "download_checkpoint"} <= names
    assert document["servers"][0]["url"] == "/"


async def test_downloads_are_bytes_to_a_client_generator(document: dict[str, Any]) -> None:
    for path in (
        "/v1/checkpoints/{checkpoint}/archive",
        "/v1/jobs/{job}/archive",
        "/v1/checkpoints/{checkpoint}/files/{path}",
        "/v1/files/{file}/content",
    ):
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        assert [kind["schema"] for kind in content.values()] == [{"type": "string", "format": "binary"}] * len(content)


async def test_every_json_body_and_every_answer_has_an_example_that_follows_its_schema(
    document: dict[str, Any],
) -> None:
    """Examples are composed of the schemas; those of a field, and api/http/samples.py, make them better."""
    resources = Registry().with_resource("urn:document", Resource(contents=document, specification=DRAFT202012))
    checked = 0
    for path, method, operation in [*operations(document), *operations({"paths": document["webhooks"]})]:
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media_type, content in (item for body in bodies for item in body.get("content", {}).items()):
            if media_type not in ("application/json", "application/problem+json"):
                continue
            named = content.get("examples", {}).values()
            examples = [content["example"]] if "example" in content else [_example(document, entry) for entry in named]
            assert examples, (path, method, media_type)
            schema = _absolute(content["schema"])
            for example in examples:
                validator = Draft202012Validator(schema, registry=resources)
                faults = [fault.message for fault in validator.iter_errors(example)]
                assert faults == [], (path, method, media_type)
                checked += 1
        for parameter in operation.get("parameters", []):
            assert parameter["in"] != "path" or parameter["example"] not in ("", "…"), (path, parameter["name"])
    assert checked > 300


def _absolute(schema: Any) -> Any:
    """Returns the schema with its references made absolute: it is validated outside of the document."""
    if isinstance(schema, list):
        return [_absolute(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: f"urn:document{value}" if name == "$ref" else _absolute(value) for name, value in schema.items()}


def _example(document: dict[str, Any], entry: dict[str, Any]) -> Any:
    """Returns the value of an example, which may be a reference."""
    if "$ref" not in entry:
        return entry["value"]
    node = document
    for part in entry["$ref"].removeprefix("#/").split("/"):
        node = node[part]
    return node["value"]


async def test_the_message_to_webhooks_is_described(document: dict[str, Any]) -> None:
    operation = document["webhooks"]["job-ended"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/WebhookMessage"}
    assert body["example"]["type"] == "job.succeeded"
