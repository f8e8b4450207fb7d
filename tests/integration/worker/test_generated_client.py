"""The main job, from the first upload to the checked checkpoint, by a client that was generated from the document."""

import asyncio
import compileall
import json
import os
import sys
from pathlib import Path

from tests.generated_client import generate_client
from tests.integration.api.service import run_service
from tests.integration.worker.worker_setup import WorkerSetup

USER = Path(__file__).with_name("generated_client_user.py")


async def test_a_generated_client_builds_and_runs_the_main_job(
    setup: WorkerSetup, small_model: Path, tmp_path: Path
) -> None:
    generate_client(tmp_path / "generated")
    assert compileall.compile_dir(tmp_path / "generated", quiet=1)
    roots = {"model_roots": [small_model.parent], "model_cache": tmp_path / "models", "rate_limit_per_minute": 0}
    async with run_service(setup.settings.model_copy(update=roots)) as service:
        setup.worker()
        key = await service.key(organisation="generated")
        user = await asyncio.create_subprocess_exec(
            *(sys.executable, str(USER), service.url, key, str(small_model)),
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await user.communicate()
    assert user.returncode == 0, err.decode() + setup.logs()
    result = json.loads(out)
    job = result["job"]
    assert (job["status"], job["outcome"], job["from"]) == ("succeeded", "unlearned", "head")
    assert result["found"] == [job["id"]]
    assert result["unknown"]["status"] == 422
    assert {"created", "started", "saved", "judged", "succeeded"} <= set(result["events"])
    assert {"forget", "retain", "unseen"} <= set(result["sets"])
    assert "model.safetensors" in result["digests"]
    assert all(result["digests"].values())
