from pathlib import Path

from core.schema.manifest import digest, manifest
from tests.integration.api.hub import COMMIT, hub
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import make_settings, run_service, wait_for_registration

TOKEN = "hf_secret"


async def test_a_repository_is_pinned_fetched_and_checked(database_url: str, redis_url: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "source")
    for name in ("LICENSE", "README.md"):
        (source / name).write_text("what a copy of the model must come with")
    expected = digest(manifest(source))
    (source / "pytorch_model.bin").write_bytes(b"a pickle")
    (source / "modeling_own.py").write_text("raise SystemExit")
    (tmp_path / "token").write_text(TOKEN + "\n")
    with hub("org/model", source, token=TOKEN) as (endpoint, requested_paths):
        settings = make_settings(
            tmp_path,
            database_url,
            redis_url,
            hub_allow=["org/*"],
            hf_endpoint=endpoint,
            hf_token_file=tmp_path / "token",
        )
        async with run_service(settings) as service, service.client() as client:
            answer = await client.post("/v1/models", json={"id": "m", "source": "hf:org/model@main"})
            assert (answer.status_code, answer.json()["status"]) == (202, "fetching")
            model = await wait_for_registration(client, "m")
            assert (model["status"], model["revision"], model["digest"]) == ("ready", COMMIT, expected), model
            assert model["shape"]["layers"] == 2
            await client.post("/v1/models", json={"id": "n", "source": "hf:org/model@nowhere"})
            missing = await wait_for_registration(client, "n")
            await client.post("/v1/models", json={"id": "o", "source": "hf:org/other"})
            other = await wait_for_registration(client, "o")
    assert (missing["status"], "revision" in missing["error"]) == ("failed", True)
    assert other["status"] == "failed"
    assert not any(path.endswith((".bin", ".py")) for path in requested_paths)
    assert TOKEN not in str([model, missing, other])
