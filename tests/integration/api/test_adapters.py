"""Adapters are registered as models, merged with their base."""

import json
import os
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy
import pytest
from safetensors.numpy import load_file, save_file

from api.models import adapter_merging
from core.schema.manifest import digest, manifest
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, wait_for_registration

MODULE = "model.layers.1.self_attn.q_proj"


def write_adapter(directory: Path, base: str | None, **config: Any) -> Path:
    """Writes a LoRA adapter of rank 2 on one matrix, scaled by 4, as peft does."""
    directory.mkdir(parents=True)
    described = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "base_model_name_or_path": base, **config}
    (directory / "adapter_config.json").write_text(json.dumps(described))
    weights = {f"base_model.model.{MODULE}.lora_A.weight": numpy.full((2, 8), 0.5, "float32")}
    weights[f"base_model.model.{MODULE}.lora_B.weight"] = numpy.full((8, 2), 0.25, "float32")
    save_file(weights, directory / "adapter_model.safetensors")
    return directory


async def register(client: httpx.AsyncClient, id: str, source: Path) -> dict[str, Any]:
    answer = await client.post("/v1/models", json={"id": id, "source": str(source)})
    assert answer.status_code == 202, answer.text
    return await wait_for_registration(client, id)


@pytest.mark.parametrize("named", ["by its id", "by its directory"])
async def test_an_adapter_becomes_a_model_with_its_base(
    service: Service, client: httpx.AsyncClient, named: str
) -> None:
    base = write_model(service.roots / uuid4().hex)
    known = (await register(client, "base", base))["digest"]
    adapter = write_adapter(service.roots / uuid4().hex, "base" if named == "by its id" else str(base))
    model = await register(client, "tuned", adapter)
    assert (model["status"], model["error"]) == ("ready", None)
    assert model["shape"]["merged"] == {
        "adapter": digest(manifest(adapter)),
        "base": "base" if named == "by its id" else str(base),
        "base_digest": known,
    }
    merged = (service.settings.model_cache / "merged").iterdir()
    directory = next(folder for folder in merged if digest(manifest(folder)) == model["digest"])
    merged, before = (load_file(folder / "model.safetensors") for folder in (directory, base))
    assert numpy.array_equal(merged.pop(f"{MODULE}.weight"), before.pop(f"{MODULE}.weight") + 4 * 0.25)
    assert all(numpy.array_equal(merged[name], weight) for name, weight in before.items())


@pytest.mark.parametrize(
    ("base", "config", "message"),
    [
        ("nobody", {}, "the adapter's base 'nobody' is not known here: register the base"),
        ("org/name", {}, "is not known here"),
        ("/etc", {}, "not a directory under the roots"),
        (None, {}, "does not name the adapter's base"),
        ("base", {"use_dora": True}, "use_dora"),
    ],
)
async def test_an_adapter_that_cannot_be_merged_fails_with_advice(
    service: Service, client: httpx.AsyncClient, base: str | None, config: dict[str, Any], message: str
) -> None:
    await register(client, "base", write_model(service.roots / uuid4().hex))
    model = await register(client, "tuned", write_adapter(service.roots / uuid4().hex, base, **config))
    assert model["status"] == "failed"
    assert message in model["error"]
    assert str(service.roots) not in model["error"]


async def test_the_base_of_another_organisation_is_unknown(service: Service, client: httpx.AsyncClient) -> None:
    await register(client, "theirs", write_model(service.roots / uuid4().hex))
    async with service.client() as stranger:
        model = await register(stranger, "tuned", write_adapter(service.roots / uuid4().hex, "theirs"))
    assert "'theirs' is not known here" in model["error"]


@pytest.mark.usefixtures("new_interpreters")
async def test_files_of_a_killed_merge_are_deleted_by_a_later_merge(
    service: Service, client: httpx.AsyncClient
) -> None:
    merged = service.settings.model_cache / "merged"
    abandoned, under_way = merged / ".a.partial-1", merged / ".b.partial-2"
    for folder in (abandoned, under_way):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x")
    long_ago = time.time() - 3 * adapter_merging.SECONDS
    os.utime(abandoned, (long_ago, long_ago))
    await register(client, "base", write_model(service.roots / uuid4().hex))
    model = await register(client, "tuned", write_adapter(service.roots / uuid4().hex, "base", lora_alpha=6))
    assert model["status"] == "ready"
    assert (abandoned.exists(), under_way.exists()) == (False, True)
