"""`unlearn jobs`, `report`, `statement` and `audit` against the running API."""

import asyncio
import hashlib
import json
import os
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx

from core.evidence.audit_log import check_audit_log
from tests.integration.api.cli.command import Run, document, output_lines
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job, record_phase
from tests.integration.storage.content import chunks

WEIGHTS = os.urandom(100_000)
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS}


async def submit(service: Service, client: httpx.AsyncClient) -> str:
    await register_ready_model(service, client)
    body = {"model": "demo", "forget": {"records": ["a b"]}, "external_reference": "DSR-7"}
    return str((await client.post("/v1/jobs", json=body)).json()["id"])


async def test_jobs_are_listed_shown_and_cancelled(unlearn: Run, service: Service, client: httpx.AsyncClient) -> None:
    job = await submit(service, client)
    described = (await client.get(f"/v1/jobs/{job}")).json()
    assert document(await unlearn("jobs", "show", job, "--json")) == described
    lines = output_lines(await unlearn("jobs", "show", job))
    shown = dict(line.split(maxsplit=1) for line in lines if not line.startswith(("warning", "waits for")))
    assert (shown["job"], shown["status"], shown["model"]) == (job, "queued", "demo, from its head")
    assert shown["due"].startswith(described["due"] + " (in ")
    listed = document(await unlearn("jobs", "list", "--status", "queued", "--reference", "DSR-7", "--json"))
    assert [entry["id"] for entry in listed["data"]] == [job]
    row = output_lines(await unlearn("jobs", "list"))[1].split()
    assert (row[:3], row[-1]) == ([job, "queued", "demo"], "calibrated")
    assert document(await unlearn("jobs", "list", "--overdue", "--json"))["data"] == []
    assert document(await unlearn("jobs", "cancel", job, "--json"))["status"] == "cancelled"
    refused = await unlearn("jobs", "cancel", job, "--json")
    error = json.loads(refused.stderr)
    assert (refused.exit_code, error["exit_code"], output_lines(refused)) == (1, 1, [])
    assert (error["error"]["status"], error["error"]["errors"]) == (409, [])


async def test_actions_print_the_job(unlearn: Run, service: Service, client: httpx.AsyncClient) -> None:
    job = await submit(service, client)
    for command, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert document(await unlearn(command, job, "--json"))["status"] == status
    assert (await unlearn("retry", job, "--json")).exit_code == 1


async def test_a_program_reads_one_document_and_nothing_else(service: Service, client: httpx.AsyncClient) -> None:
    job = await submit(service, client)
    key = client.headers["authorization"].removeprefix("Bearer ")
    environment = {**os.environ, "UNLEARN_URL": service.url, "UNLEARN_KEY": key}
    command = [sys.executable, "-m", "api.cli", "jobs", "list", "--json"]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    assert ([entry["id"] for entry in json.loads(stdout)["data"]], stderr, process.returncode) == ([job], b"", 0)


async def test_a_job_is_followed_to_its_end(unlearn: Run, service: Service, client: httpx.AsyncClient) -> None:
    job = await submit(service, client)
    following = asyncio.create_task(unlearn("jobs", "follow", job))
    fence = await claim_job(service, job)
    await record_phase(service, job, fence, "unlearning")
    checkpoint = await finish_job(service, job, fence, FILES)
    done = await asyncio.wait_for(following, 60)
    assert (done.exit_code, output_lines(done)) == (0, [checkpoint]), done.output
    assert "unlearning" in done.stderr
    assert document(await unlearn("jobs", "follow", job, "--json"))["checkpoint"] == checkpoint


async def test_a_job_that_does_not_succeed_is_exit_code_1(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await submit(service, client)
    await client.post(f"/v1/jobs/{job}/cancel")
    done = await unlearn("jobs", "follow", job)
    assert (done.exit_code, done.stderr.strip()) == (1, f"{job} is cancelled")
    without = await unlearn("jobs", "download", job, "--out", str(tmp_path / "out"))
    assert (without.exit_code, without.stderr.strip()) == (1, f"{job} has made no checkpoint")


async def test_a_checkpoint_is_downloaded_and_a_wrong_byte_is_exit_code_5(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await submit(service, client)
    await finish_job(service, job, await claim_job(service, job), FILES)
    out = tmp_path / "out"
    done = document(await unlearn("jobs", "download", job, "--out", str(out), "--json"))
    assert done["directory"] == str(out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == FILES
    changed = bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:]
    await service.context.storage.write(f"checkpoints/{job}/1/model.safetensors", chunks(changed))
    refused = await unlearn("jobs", "download", job, "--out", str(tmp_path / "again"))
    assert refused.exit_code == 5
    assert refused.stderr.startswith("model.safetensors has the sha256 " + hashlib.sha256(changed).hexdigest())


async def test_a_report_is_summed_up_printed_and_written(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await submit(service, client)
    early = await unlearn("report", job, "--json")
    assert (early.exit_code, json.loads(early.stderr)["error"]["problem"]) == (1, "not-ended")
    await finish_job(service, job, await claim_job(service, job), FILES)
    whole = (await client.get(f"/v1/jobs/{job}/report?format=json")).json()
    assert document(await unlearn("report", job, "--json")) == whole
    assert json.loads("".join(output_lines(await unlearn("report", job, "--format", "json")))) == whole
    assert output_lines(await unlearn("report", job))[: len(whole["summary"])] == whole["summary"]
    for form in ("pdf", "html", "json"):
        file = tmp_path / f"report.{form}"
        assert document(await unlearn("report", job, "--out", str(file), "--json"))["format"] == form
        assert file.read_bytes() == (await client.get(f"/v1/jobs/{job}/report?format={form}")).content
    assert (await unlearn("report", job, "--out", str(tmp_path / "report"))).exit_code == 2
    assert (await unlearn("report", job, "--format", "pdf", "--json")).exit_code == 2


async def test_a_statement_that_is_not_there_is_refused_by_name(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await submit(service, client)
    refused = await unlearn("statement", job, "--out", str(tmp_path / "statement.json"), "--json")
    assert (refused.exit_code, json.loads(refused.stderr)["error"]["problem"]) == (1, "no-checkpoint")
    assert not (tmp_path / "statement.json").exists()


async def test_the_audit_log_is_listed_and_exported(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    job = await submit(service, client)
    entries = document(await unlearn("audit", "list", "--object", job, "--json"))["data"]
    assert [entry["action"] for entry in entries] == ["job.created"]
    row = output_lines(await unlearn("audit", "list", "--object", job))[1].split()
    assert (row[0], row[3], row[4]) == (str(entries[0]["seq"]), "job.created", job)
    file = tmp_path / "audit.jsonl"
    exported = document(await unlearn("audit", "export", "--out", str(file), "--json"))
    assert exported["newest"]["seq"] == len(file.read_text().splitlines())
    with file.open("rb") as lines:
        assert check_audit_log(lines).holds


async def test_a_service_that_does_not_answer_is_exit_code_4(unlearn: Run) -> None:
    silent = await unlearn("jobs", "list", "--server", "http://127.0.0.1:9", "--json")
    assert (silent.exit_code, json.loads(silent.stderr)["exit_code"]) == (4, 4)


async def test_jobs_that_share_a_run_name_the_one_that_leads_it(
    unlearn: Run, service: Service, client: httpx.AsyncClient
) -> None:
    await register_ready_model(service, client)
    body = {"model": "demo", "combine": True, "forget": {"records": ["a b"]}}
    lead, other = [(await client.post("/v1/jobs", json=body)).json()["id"] for _ in range(2)]
    assert "shared run" not in (await unlearn("jobs", "show", lead)).stdout
    await claim_job(service, lead)
    assert re.search(r"shared run +led by this job", (await unlearn("jobs", "show", lead)).stdout)
    assert re.search(rf"shared run +led by {lead}", (await unlearn("jobs", "show", other)).stdout)
