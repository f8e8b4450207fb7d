"""Job requests that the service refuses, with the field named."""

from typing import Any

import httpx
import pytest

from core.records import models
from tests.integration.api.service import Service, register_ready_model, upload_records
from tests.integration.api.submission import MINIMAL_REQUEST


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"model": "unknown"}, ["/model"]),
        ({"method": "magic"}, ["/method"]),
        ({"method": {"name": "magic", "beta": 1}}, ["/method"]),
        ({"method": {"name": "ascent_kl", "beta": 1, "retain_weight": -1}}, ["/method/retain_weight", "/method/beta"]),
        ({"method": "SECRET" * 20}, ["/method", "/method"]),
        ({"method": {"retain_weight": 1}}, ["/method/name", "/method"]),
        ({"colour": "red"}, ["/colour"]),
        ({"training": {"learning_rate": 0}}, ["/training/learning_rate"]),
        ({"training": {"momentum": 1}}, ["/training/momentum"]),
        ({"from": "ckpt-1"}, ["/from"]),
        ({"output": "gguf"}, ["/output"]),
        ({"output": "adapter"}, ["/output"]),
        ({"output": "merged"}, ["/output"]),
        ({"training": {"lora": {"rank": 0}}}, ["/training/lora/rank"]),
        ({"training": {"lora": {}, "trainable": ["model.embed*"]}}, ["/training/trainable"]),
        ({"training": {"lora": {"modules": ["q_proj", "w_proj"]}}}, ["/training/lora/modules/1"]),
        ({"training": {"lora": {"modules": ["embed_tokens"]}}}, ["/training/lora/modules/0"]),
        ({"training": {"trainable": ["model.emb*", "model.layers.7.*"]}}, ["/training/trainable/1"]),
        ({"training": {"max_length": 65}}, ["/training/max_length"]),
        ({"training": {"master_weights": "bfloat16"}}, ["/training/master_weights"]),
        ({"training": {"relearning_defence": "noise"}}, ["/training/relearning_defence"]),
        (
            {"training": {"relearning_defence": "both"}, "method": "task_vector"},
            ["/training/relearning_defence"],
        ),
        (
            {"training": {"relearning_defence": "selective"}, "resources": {"gpus": 2}},
            ["/training/relearning_defence"],
        ),
        ({"training": {"conflicting_gradients": "ignore"}}, ["/training/conflicting_gradients"]),
        (
            {"training": {"conflicting_gradients": "project"}, "resources": {"gpus": 2}},
            ["/training/conflicting_gradients"],
        ),
        ({"forget": {}}, ["/forget"]),
        ({"forget": {"records": []}}, ["/forget"]),
        ({"forget": {"records": ["fine", "  "]}}, ["/forget/records"]),
        ({"forget": {"records": [{"text": ""}]}}, ["/forget/records/0", "/forget/records/0"]),
        ({"forget": {"records": [{"text": "a", "SECRET": 1}]}}, ["/forget/records/0"]),
        ({"forget": {"records": ["fine", {"question": "SECRET"}]}}, ["/forget/records/1"]),
        ({"forget": {"records": [{"messages": [{"role": "tool", "content": "SECRET"}]}]}}, ["/forget/records/0"]),
        ({"forget": {"records": ["SECRET" * 400]}}, ["/forget/records/0"]),
        ({"forget": {"records": ["a" * 1500] * 700}}, ["/forget/records"]),
        ({"forget": {"file": "file-none"}}, ["/forget/file"]),
        ({"forget": {"file": "RETAIN"}}, ["/forget/file"]),
        ({"retain": [{"file": "FORGET"}]}, ["/retain/0/file"]),
        ({"retain": [{"file": "file-none"}]}, ["/retain/0/file"]),
        ({"unseen": {"file": "RETAIN"}}, ["/unseen/file"]),
        ({"reference": "nul \0"}, []),
        ({"metadata": {"nul": "\0"}}, []),
        ({"metadata": {"team": "SECRET" * 100}}, ["/metadata/team"]),
        ({"metadata": {"a" * 100: "privacy"}}, ["/metadata/" + "a" * 100]),
    ],
)
async def test_an_invalid_job_request_is_422_names_the_field_and_stores_nothing(
    service: Service, client: httpx.AsyncClient, change: dict[str, Any], pointers: list[str]
) -> None:
    await register_ready_model(service, client)
    body = {**MINIMAL_REQUEST, **change}
    for set in ("forget", "retain"):
        if set.upper() in str(body):
            file = await upload_records(client, set)
            body = _replaced(body, set.upper(), file)
    before = [key async for key, _ in service.context.storage.list("files")]
    answer = await client.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json().get("errors", [])] == pointers
    assert "SECRET" not in answer.text
    assert (await client.get("/v1/jobs")).json()["data"] == []
    assert [key async for key, _ in service.context.storage.list("files")] == before


def _replaced(value: Any, name: str, by: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(item, name, by) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, name, by) for item in value]
    return by if value == name else value


async def test_an_unknown_method_is_refused_with_the_known_methods(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "method": "magic"})
    assert "gradient_ascent" in answer.json()["detail"]


async def test_a_deleted_default_file_has_another_message_than_a_missing_file_of_the_request(
    service: Service, client: httpx.AsyncClient
) -> None:
    model = await register_ready_model(service, client)
    assert (await client.delete(f"/v1/files/{model['defaults']['unseen']}")).status_code == 204
    answer = await client.post("/v1/jobs", json=MINIMAL_REQUEST)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/unseen")
    assert "default" in answer.json()["detail"]
    named = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "unseen": {"file": "file-none"}})
    assert named.json()["detail"] == "there is no such file"


async def test_a_model_that_is_not_ready_is_409(service: Service, client: httpx.AsyncClient) -> None:
    await register_ready_model(service, client)
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    for status in ("fetching", "failed"):
        async with service.sessions.begin() as session:
            await models.update_registration(session, organisation, "demo", {"status": status, "error": "why"})
        answer = await client.post("/v1/jobs", json=MINIMAL_REQUEST)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (409, "model-not-ready")
