"""Jobs that may share a run: by which requests, and what the API says of them."""

from typing import Any

import httpx
import pytest

from core.records import leases, shared_runs
from core.unlearning.objectives import METHODS
from tests.integration.api.service import Service, register_ready_model, upload
from tests.integration.api.submission import MINIMAL_REQUEST, submit_job


async def runs(service: Service) -> list[list[str]]:
    """Claims all jobs; returns the ids of each run."""
    claimed = []
    while True:
        async with service.sessions.begin() as session:
            job = await leases.claim(session, worker="test", gpus=0, lease_seconds=600)
            if job is None:
                return claimed
            claimed.append([job.id, *(row.id for row in await shared_runs.companions(session, job))])


async def test_only_requests_that_differ_in_nothing_but_their_own_text_share_a_run(
    service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    base = {"from": "base", "combine": True}
    retain = (await upload(client, "Person 1 lives in Ulmstead.\n\nPerson 2 does, too.", "retain", "a.txt")).json()[
        "id"
    ]
    probes = (await upload(client, '{"prompt": "Who?", "completion": "Zorvek"}\n', "probes")).json()["id"]
    first = await submit_job(client, **base)
    assert (first["combine"], first["shared_run"]) == (True, None)
    others: list[dict[str, Any]] = [
        {"combine": False},
        {"training": {"epochs": 3}},
        {"training": {"seed": 1}},
        {"method": {"name": "npo", "beta": 0.2}},
        {"method": "gradient_ascent"},
        {"retain": [{"file": retain}]},
        {"evaluation": {"measure": ["thorough"]}},
        {"from": "head"},
    ]
    alone = [(await submit_job(client, **{**base, **more}))["id"] for more in others]
    own = {
        "forget": {"records": ["Zorvek Halmi lives in Pell", "and Ulma Tarn in Vexford"]},
        "probes": {"file": probes},
        "external_reference": "DSR-2",
        "received_at": "2026-11-01T09:30:00Z",
        "metadata": {"team": "privacy"},
    }
    second = await submit_job(client, **{**base, **own})
    claimed = await runs(service)
    assert [first["id"], second["id"]] in claimed
    own = {first["id"], second["id"], *alone}  # other tests leave jobs in the same database
    assert sorted(run[0] for run in claimed if len(run) == 1 and run[0] in own) == sorted(alone)
    shown = [(await client.get(f"/v1/jobs/{job['id']}")).json() for job in (first, second)]
    assert [(job["status"], job["shared_run"]) for job in shown] == [("running", first["id"])] * 2


@pytest.mark.parametrize("changed", ["epochs", "weight_decay"])
async def test_jobs_that_were_accepted_with_other_defaults_share_no_run(
    service: Service, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    await register_ready_model(service, client)
    combining = {"from": "base", "combine": True, "method": "gradient_ascent"}
    older = [(await submit_job(client, **combining))["id"] for _ in range(2)]
    recipe = METHODS["gradient_ascent"].small
    monkeypatch.setattr(METHODS["gradient_ascent"], "small", recipe.model_copy(update={changed: 1}))
    newer = [(await submit_job(client, **combining))["id"] for _ in range(2)]
    claimed = await runs(service)
    assert older in claimed
    assert newer in claimed


@pytest.mark.parametrize(
    ("more", "words"), [({"dry_run": True}, "dry run"), ({"retrained_model": "demo"}, "retrained")]
)
async def test_a_request_that_cannot_share_a_run_is_refused(
    service: Service, client: httpx.AsyncClient, more: dict[str, Any], words: str
) -> None:
    await register_ready_model(service, client)
    answer = await client.post("/v1/jobs", json={**MINIMAL_REQUEST, "combine": True, **more})
    assert answer.status_code == 422
    assert words in answer.text
