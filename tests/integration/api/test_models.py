import asyncio
import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy
import pytest
from safetensors.numpy import save_file

from api.models import torch_process
from api.models.registration import Registrar
from core.embedded import Stack
from core.records import models
from core.records.migrate import upgrade
from core.schema.manifest import digest, manifest
from tests.integration.api.model_directory import PARAMETERS, weights, write_model
from tests.integration.api.service import (
    Service,
    make_settings,
    register_ready_model,
    run_service,
    upload_records,
    wait_for_registration,
    wait_until,
)
from tests.servers import execute


async def register(client: httpx.AsyncClient, source: Path | str, **more: Any) -> httpx.Response:
    return await client.post("/v1/models", json={"id": "m", "source": str(source), **more})


@pytest.mark.usefixtures("new_interpreters")
async def test_a_directory_becomes_ready_with_its_digest_and_shape(service: Service, client: httpx.AsyncClient) -> None:
    directory = write_model(service.roots / uuid4().hex)
    answer = await register(client, directory)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/v1/models/m"
    assert answer.json()["status"] == "fetching"
    model = await wait_for_registration(client, "m")
    assert (model["status"], model["digest"], model["head"]) == ("ready", digest(manifest(directory)), None)
    assert model["shape"] == {
        "architecture": "LlamaForCausalLM",
        "parameters": PARAMETERS,
        "bytes": 4 * PARAMETERS,
        "hidden_size": 8,
        "layers": 2,
        "heads": 2,
        "vocabulary": 16,
        "context": 64,
        "dtype": "float32",
        "intermediate": 12,
        "key_value_heads": 2,
        "head_size": None,
        "tied": True,
        "bytes_per_token": 6.0,
        "merged": None,
        "tensors": model["shape"]["tensors"],
    }
    assert {"name": "model.embed_tokens.weight", "shape": [16, 8], "count": 1, "first": 0} in model["shape"]["tensors"]
    assert {"name": "model.layers.*.mlp.up_proj.weight", "shape": [12, 8], "count": 2, "first": 0} in model["shape"][
        "tensors"
    ]


def damage_model(directory: Path, how: str) -> None:
    weights, config = directory / "model.safetensors", directory / "config.json"
    match how:
        case "no config":
            config.unlink()
        case "config no JSON":
            config.write_text("{")
        case "no weights":
            weights.unlink()
        case "pickles only":
            weights.rename(directory / "pytorch_model.bin")
        case "cut short":
            weights.write_bytes(weights.read_bytes()[:-1])
        case "no safetensors file":
            weights.write_bytes(b"\xff" * 100)
        case "missing shard":
            index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
            (directory / "model.safetensors.index.json").write_text(json.dumps(index))
        case "shard elsewhere":
            index = {"weight_map": {"a": "../model.safetensors"}}
            (directory / "model.safetensors.index.json").write_text(json.dumps(index))
        case "code in the tokenizer's config":
            (directory / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}')
        case "no tokenizer":
            (directory / "tokenizer.json").unlink()
        case "links in a circle":
            (directory / "a").symlink_to(directory / "b")
            (directory / "b").symlink_to(directory / "a")
            weights.unlink()
        case "link out of the root":
            weights.unlink()
            weights.symlink_to("/etc/hostname")
        case "integer weights":
            header = b'{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}'
            weights.write_bytes(len(header).to_bytes(8, "little") + header + b"ab")


@pytest.mark.parametrize(
    ("how", "config", "name"),
    [
        ("no config", {}, "model-incomplete"),
        ("config no JSON", {}, "model-incomplete"),
        ("no weights", {}, "model-incomplete"),
        ("pickles only", {}, "unsafe-model"),
        ("cut short", {}, "model-incomplete"),
        ("no safetensors file", {}, "model-incomplete"),
        ("missing shard", {}, "model-incomplete"),
        ("shard elsewhere", {}, "model-incomplete"),
        ("code in the tokenizer's config", {}, "unsafe-model"),
        ("no tokenizer", {}, "model-incomplete"),
        ("links in a circle", {}, "model-incomplete"),
        ("link out of the root", {}, "unsafe-model"),
        ("integer weights", {}, "unsupported-model"),
        ("code in the config", {"auto_map": {"AutoModel": "x.Y"}}, "unsafe-model"),
        ("vocabulary too small", {"vocab_size": 2}, "unsupported-model"),
        ("no end of sequence", {"eos_token_id": None}, "unsupported-model"),
        ("no causal model", {"architectures": ["BertForMaskedLM"]}, "unsupported-model"),
        ("quantised", {"quantization_config": {"bits": 4}}, "unsupported-model"),
    ],
)
async def test_a_directory_that_cannot_be_used_is_refused_at_once(
    service: Service, client: httpx.AsyncClient, how: str, config: dict[str, Any], name: str
) -> None:
    directory = write_model(service.roots / uuid4().hex, **config)
    damage_model(directory, how)
    answer = await register(client, directory)
    assert answer.status_code == 422, how
    problem = answer.json()
    assert problem["type"].endswith(name)
    assert problem["errors"][0]["pointer"] == "/source"
    assert str(service.roots) not in answer.text
    assert (await client.get("/v1/models")).json()["data"] == []


async def test_weights_that_do_not_fit_the_architecture_fail_the_registration_by_name(
    service: Service, client: httpx.AsyncClient
) -> None:
    for id, lost, config, message in (
        ("lost", "model.layers.1.mlp.up_proj.weight", {}, "lack 1 tensor ('model.layers.1.mlp.up_proj.weight')"),
        ("headless", None, {"tie_word_embeddings": False}, "lack 1 tensor ('lm_head.weight')"),
        ("wider", None, {"hidden_size": 10, "head_dim": 4}, "has the shape [16, 8] in the files and [16, 10]"),
    ):
        directory = write_model(service.roots / uuid4().hex, **config)
        held = weights()
        held.pop(lost, None)
        save_file(held, directory / "model.safetensors", metadata={"format": "pt"})
        assert (await register(client, directory, id=id)).status_code == 202
        model = await wait_for_registration(client, id)
        assert model["status"] == "failed"
        assert message in model["error"]
        assert str(service.roots) not in model["error"]


async def test_constants_of_older_files_are_neither_weights_nor_a_reason_to_refuse(
    service: Service, client: httpx.AsyncClient
) -> None:
    directory = write_model(service.roots / uuid4().hex)
    mask = numpy.ones((1, 1, 64, 64), "uint8")
    constants = {"model.layers.0.self_attn.bias": mask, "model.layers.1.self_attn.bias": mask.astype("bool")}
    constants["model.layers.0.self_attn.rotary_emb.inv_freq"] = numpy.ones(2, "float32")
    save_file(weights() | constants, directory / "model.safetensors", metadata={"format": "pt"})
    await register(client, directory)
    model = await wait_for_registration(client, "m")
    assert (model["status"], model["error"], model["shape"]["parameters"]) == ("ready", None, PARAMETERS)


@pytest.mark.usefixtures("new_interpreters")
async def test_a_process_that_cannot_check_the_weights_fails_the_registration(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_process, "SECONDS", 0.01)
    directory = write_model(service.roots / uuid4().hex, vocab_size=23)
    await register(client, directory)
    model = await wait_for_registration(client, "m")
    assert model["status"] == "failed"
    assert "register the model again" in model["error"]


async def test_only_directories_under_an_allowed_root_are_read(
    service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    outside = write_model(tmp_path / "outside")
    (service.roots / "link").symlink_to(outside)
    sources = [
        outside,
        service.roots / "link",
        service.roots / ".." / ".." / outside.name,
        "relative",
        "/nowhere",
        service.roots / ("a" * 300),
        "/\0",
    ]
    answers = [await register(client, source) for source in sources]
    (service.roots / "link").unlink()
    assert {answer.status_code for answer in answers} == {422}
    # nobody can tell a directory outside the roots from a missing one
    assert len({answer.json()["detail"] for answer in answers}) == 1


async def test_a_model_shows_the_training_tokens_of_its_registration(
    service: Service, client: httpx.AsyncClient
) -> None:
    directory = write_model(service.roots / uuid4().hex)
    for id, training_tokens in (("known", 9_000_000_000_000), ("unknown", None)):
        await register(client, directory, id=id, training_tokens=training_tokens)
        assert (await wait_for_registration(client, id))["training_tokens"] == training_tokens
    for wrong in (0, 2**63, "many"):
        refused = await register(client, directory, id="wrong", training_tokens=wrong)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/training_tokens")


async def test_a_taken_id_is_409_and_an_unknown_field_or_default_is_422(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, "m")
    directory = write_model(service.roots / uuid4().hex)
    assert (await register(client, directory)).status_code == 409
    assert (await register(client, directory, id="a/b")).status_code == 422
    unknown = await register(client, directory, id="n", trust_remote_code=True)
    assert unknown.json()["errors"] == [{"pointer": "/trust_remote_code", "detail": "this field is not known"}]
    missing = await register(client, directory, id="n", defaults={"retain": "file-none"})
    assert missing.json()["errors"][0]["pointer"] == "/defaults/retain"
    wrong = await register(client, directory, id="n", defaults={"unseen": await upload_records(client, "forget")})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/defaults/unseen")


async def test_models_are_listed_and_deleted_without_their_directory(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client, "a")
    second = await register_ready_model(service, client, "b")
    page = (await client.get("/v1/models", params={"limit": 1})).json()
    assert ([model["id"] for model in page["data"]], page["has_more"]) == (["a"], True)
    assert (await client.get("/v1/models", params={"after": "a"})).json()["data"] == [second]
    assert (await client.delete("/v1/models/a")).status_code == 204
    assert (await client.get("/v1/models/a")).status_code == 404
    assert (await client.delete("/v1/models/a")).status_code == 404
    async with service.client() as stranger:
        assert (await stranger.get("/v1/models/b")).status_code == 404
    assert second["source"] in {str(directory) for directory in service.roots.iterdir()}


async def test_a_model_left_at_fetching_is_registered_after_a_restart(
    service: Service, client: httpx.AsyncClient
) -> None:
    directory = write_model(service.roots / uuid4().hex)
    await register(client, directory)
    await wait_for_registration(client, "m")
    shutil.rmtree(directory)
    async with service.sessions.begin() as session:
        organisation = (await client.get("/v1/keys/self")).json()["organisation"]
        await models.update_registration(session, organisation, "m", {"status": "fetching"})
    await service.context.registrar.resume()
    model = await wait_for_registration(client, "m")
    assert model["status"] == "failed"
    assert "allow" in model["error"]
    assert str(directory) not in model["error"]


async def test_the_registration_of_a_deleted_model_does_not_settle_a_later_model_of_its_id(
    service: Service, client: httpx.AsyncClient
) -> None:
    organisation = (await client.get("/v1/keys/self")).json()["organisation"]
    await register(client, write_model(service.roots / uuid4().hex))
    await wait_for_registration(client, "m")
    async with service.sessions() as session:
        first = await models.get(session, organisation, "m")
    assert first is not None
    await client.delete("/v1/models/m")
    await register(client, write_model(service.roots / uuid4().hex, vocab_size=20))
    second = await wait_for_registration(client, "m")
    replica = Registrar(service.settings, service.sessions)  # which still works on the first registration
    replica.start(first)
    await wait_until(lambda: not replica.busy)
    assert (await client.get("/v1/models/m")).json() == second


async def test_a_registration_is_stored_once_the_database_is_back(
    clean_database_url: str, redis_url: str, stack: Stack, tmp_path: Path
) -> None:
    await upgrade(clean_database_url)
    async with (
        run_service(make_settings(tmp_path, clean_database_url, redis_url)) as service,
        service.client() as client,
    ):
        name = clean_database_url.rpartition("/")[2].partition("?")[0]
        await register(client, write_model(service.roots / "m"))
        await wait_for_registration(client, "m")
        async with service.sessions.begin() as session:
            organisation = (await client.get("/v1/keys/self")).json()["organisation"]
            await models.update_registration(session, organisation, "m", {"status": "fetching"})
            row = await models.get(session, organisation, "m")
        assert row is not None
        await execute(stack.superuser_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await execute(
            stack.superuser_url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        service.context.registrar.start(row)
        await asyncio.sleep(0.5)
        await execute(stack.superuser_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert (await wait_for_registration(client, "m"))["status"] == "ready"


async def test_a_repository_that_is_not_on_the_operators_list_is_refused(client: httpx.AsyncClient) -> None:
    for source in ("hf:org/model", "hf:org", "hf:../../etc@main"):
        answer = await register(client, source)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/source")
