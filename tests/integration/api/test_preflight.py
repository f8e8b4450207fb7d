"""Estimates of jobs, and jobs that no declared worker class can hold."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.records import progress, workers
from core.schema.event_types import EventType
from core.schema.events import CostReported
from core.schema.preflight import WorkerClass
from core.schema.throughput import Place, Throughput, Throughputs
from core.settings import Settings
from tests.integration.api import worker_actions
from tests.integration.api.service import Service, make_settings, register_ready_model, run_service, upload_records


async def submit(client: httpx.AsyncClient, **more: Any) -> httpx.Response:
    body = {"model": "demo", "forget": {"records": ["Zorvek lives at 12 Pell Lane."]}, **more}
    return await client.post("/v1/jobs", json=body)


async def record_cost(service: Service, job: dict[str, Any], *, unlearning: float, other: float) -> None:
    """Adds the event of a job's cost, with as many tokens as the estimate expected."""
    tokens, job_id = job["estimate"]["tokens"], job["id"]
    cost = CostReported(
        seconds={"unlearning": unlearning, "loading": other},
        tokens=tokens,
        peak_host_bytes=1,
        flops={"unlearning": 6.0 * tokens * job["estimate"]["parameters"]},
    )
    fence = await worker_actions.claim_job(service, job_id)
    async with service.sessions.begin() as session:
        await progress.add_event(session, job_id, fence, EventType.COST, cost.model_dump(mode="json", exclude={"kind"}))
    await worker_actions.finish_job(service, job_id, fence, {"config.json": b"{}"})


async def test_a_job_shows_its_estimate_at_submission_and_later(service: Service, client: httpx.AsyncClient) -> None:
    model = await register_ready_model(service, client)
    job = (await submit(client)).json()
    estimate = job["estimate"]
    assert estimate["parameters"] == estimate["trained_parameters"] == model["shape"]["parameters"]
    assert estimate["peak_host_bytes"] > 1 << 28
    assert (estimate["gpus"], estimate["peak_device_bytes"]) == (0, None)
    assert estimate["seconds"] > 0, "before the first job by a guess at the machine's speed"
    assert estimate["scratch_bytes"] > model["shape"]["bytes"]
    assert (await client.get(f"/v1/jobs/{job['id']}")).json()["estimate"] == estimate


async def test_the_estimate_of_a_gpu_job_holds_the_memory_of_each_gpu(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    estimate = (await submit(client, resources={"gpus": 2})).json()["estimate"]
    assert estimate["gpus"] == 2
    assert estimate["peak_device_bytes"] > 0


async def test_the_estimated_time_rests_on_the_organisations_finished_jobs(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    first = (await submit(client)).json()
    await record_cost(service, first, unlearning=40.0, other=2.0)
    again = (await submit(client)).json()["estimate"]["seconds"]
    dry = (await submit(client, dry_run=True)).json()["estimate"]["seconds"]
    assert again > 42.0  # plus the time of measuring, of which the first job had none
    assert 2.0 < dry < again - 40.0
    # twice as many passes take twice the training time
    epochs = 2 * first["training"]["epochs"]
    longer = (await submit(client, training={"epochs": epochs})).json()["estimate"]
    assert longer["seconds"] - again == pytest.approx(40.0, rel=0.15)  # plus more rehearsal
    async with service.client() as stranger:
        await register_ready_model(service, stranger)
        assert (await submit(stranger)).json()["estimate"]["seconds"] == first["estimate"]["seconds"]


async def mark_up(service: Service, worker: str, speed: float | None, *, gpus: int = 0) -> None:
    """A worker's sign of life, with what it measured of its processor, and ten times that of its GPUs."""
    figures: dict[Place, Throughput] = {}
    if speed is not None:
        figures = {"cpu": Throughput(width=256, forward=speed, update=speed)}
        if gpus:
            figures["gpu"] = Throughput(width=256, forward=10 * speed, update=10 * speed)
    measured = Throughputs(figures) if figures else None
    async with service.sessions.begin() as session:
        await workers.mark_up(session, worker=worker, slots=1, gpus=gpus, throughput=measured)


async def test_before_a_models_first_job_the_estimated_time_rests_on_workers_that_could_run_it(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)

    async def seconds(**more: Any) -> float:
        return float((await submit(client, **more)).json()["estimate"]["seconds"])

    first = (await submit(client)).json()
    guess = first["estimate"]["seconds"]
    await mark_up(service, "unmeasured", None)
    assert await seconds() == guess
    await mark_up(service, "slow", 1e6)
    slow = await seconds()
    assert slow > 2 * guess
    await mark_up(service, "slow", None)
    assert await seconds() == slow, "a sign of life without a figure keeps the figure"
    # a job on GPUs goes to a worker that has as many, and counts each of them
    on_gpu = await seconds(resources={"gpus": 2})
    await mark_up(service, "small", 1e6, gpus=1)
    assert await seconds(resources={"gpus": 2}) == on_gpu
    await mark_up(service, "large", 1e6, gpus=2)
    assert slow > await seconds(resources={"gpus": 1}) > await seconds(resources={"gpus": 2}) > on_gpu
    # a worker that is up says more than one that is gone
    await mark_up(service, "quick", 1e12)
    async with service.sessions.begin() as session:
        for worker in ("slow", "small", "large"):
            await workers.mark_stopped(session, worker=worker)
    assert await seconds() <= guess
    await record_cost(service, first, unlearning=40.0, other=2.0)
    assert await seconds() > 42.0, "the model's own jobs say more than either"


@pytest.fixture
def small_machines(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings of an operator whose only worker class is small."""
    classes = [
        WorkerClass(name="small", memory_bytes=300 << 20),
        WorkerClass(name="card", gpus=1, memory_bytes=1 << 34),
    ]
    return make_settings(tmp_path, database_url, redis_url, worker_classes=classes)


async def test_a_job_that_no_worker_class_can_hold_is_refused_with_numbers_and_not_written(
    small_machines: Settings,
) -> None:
    async with run_service(small_machines) as service, service.client() as client:
        await register_ready_model(service, client)
        answer = await submit(client)
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["type"].endswith(":does-not-fit")
        assert "GB on the host" in problem["detail"]
        assert "'small'" in problem["detail"]
        assert "resources.gpus = 1" in problem["detail"]
        assert problem["errors"] == [{"pointer": "/resources/gpus", "detail": "resources.gpus = 1"}]
        assert (await client.get("/v1/jobs")).json()["data"] == []
        forget = await upload_records(client, "forget")
        assert (await submit(client, forget={"file": forget})).status_code == 422
        assert (await client.delete(f"/v1/files/{forget}")).status_code == 204  # no job uses the file
        # neither does a dry run or a measurement fit; a measurement has no training that could be changed
        for path, more in (("/v1/jobs", {"dry_run": True}), ("/v1/measurements", {})):
            body = {"model": "demo", "forget": {"records": ["Zorvek lives at 12 Pell Lane."]}, **more}
            assert (await client.post(path, json=body)).json()["type"].endswith(":does-not-fit")
        # the suggested change does fit
        assert (await submit(client, resources={"gpus": 1})).status_code == 202
        refused = await submit(client, resources={"gpus": 2})
        assert "no declared worker has 2 GPUs" in refused.json()["detail"]


async def test_a_measuring_job_fits_where_training_does_not(
    service: Service, client: httpx.AsyncClient, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    await register_ready_model(service, client)
    answers = [await submit(client, dry_run=dry_run) for dry_run in (False, True)]
    full, dry = (answer.json()["estimate"]["peak_host_bytes"] for answer in answers)
    between = [WorkerClass(name="small", memory_bytes=(full + dry) // 2)]
    (tmp_path / "small").mkdir()
    settings = make_settings(tmp_path / "small", database_url, redis_url, worker_classes=between)
    async with run_service(settings) as small, small.client() as other:
        await register_ready_model(small, other)
        assert (await submit(other)).status_code == 422
        assert (await submit(other, dry_run=True)).status_code == 202
        request = {"model": "demo", "forget": {"records": ["Zorvek lives at 12 Pell Lane."]}}
        measured = await other.post("/v1/measurements", json=request)
        assert (measured.status_code, measured.json()["estimate"]["tokens"]) == (202, 0)


def test_worker_classes_are_json_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    classes = [{"name": "h100", "gpus": 8, "memory_bytes": 85899345920}]
    monkeypatch.setenv("WORKER_CLASSES", json.dumps(classes))
    settings = Settings(database_url="x", redis_url="x", service_key_file=tmp_path)  # type: ignore[arg-type]
    assert settings.worker_classes == [WorkerClass(name="h100", gpus=8, memory_bytes=80 << 30)]
