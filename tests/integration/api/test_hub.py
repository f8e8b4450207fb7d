"""Downloads by the Hub's protocol, by the programs that people use for it."""

import hashlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy
import pytest
import pytest_asyncio
from safetensors.numpy import save
from sqlalchemy import update

from core.records.tables import CheckpointRow
from tests.hub_clients import CLIENTS, Answer, Client, run_client
from tests.integration.api.breaking_line import breaking_line
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, register_ready_model
from tests.integration.api.worker_actions import claim_job, finish_job

EXTRA = os.urandom(12 << 20)
CUT = 11 << 20
"""Where a download breaks off: clients write what they receive in blocks of 10 MiB."""


@dataclass
class Delivered:
    """A finished job, and the way to its checkpoint."""

    organisation: str
    job: str
    checkpoint: str
    files: dict[str, bytes]
    digest: str
    service: Service
    token: str
    home: Path

    @property
    def repository(self) -> str:
        return f"{self.organisation}/{self.job}"

    @property
    def commit(self) -> str:
        return self.digest[:40]

    @property
    def endpoint(self) -> str:
        return f"{self.service.url}/hub"

    async def run(
        self, client: Client, body: str, repository: str | None = None, *, endpoint: str | None = None, **more: Any
    ) -> Answer:
        """Runs a client on the job's repository, or another."""
        chosen = {"token": self.token, **more}
        name = repository or self.repository
        return await run_client(client, body, name, home=self.home, endpoint=endpoint or self.endpoint, **chosen)

    async def change(self, **values: Any) -> None:
        async with self.service.sessions.begin() as session:
            await session.execute(update(CheckpointRow).where(CheckpointRow.id == self.checkpoint).values(**values))


async def submit(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/jobs", json={"model": "demo", "forget": {"records": ["a b"]}})
    return str(answer.json()["id"])


@pytest_asyncio.fixture
async def delivered(service: Service, tmp_path: Path) -> AsyncIterator[Delivered]:
    organisation = uuid4().hex
    directory = write_model(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    files |= {"extra.bin": EXTRA, "notes/empty.txt": b"", "notes/deep/er.txt": b"deep"}
    (tmp_path / "home").mkdir()
    async with service.client(organisation=organisation) as client:
        await register_ready_model(service, client)
        job = await submit(client)
        checkpoint = await finish_job(service, job, await claim_job(service, job), files)
        digest = (await client.get(f"/v1/checkpoints/{checkpoint}")).json()["digest"]
        token = client.headers["Authorization"].removeprefix("Bearer ")
        yield Delivered(organisation, job, checkpoint, files, digest, service, token, tmp_path / "home")


def read(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def read_file(path: str) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_snapshot_is_the_checkpoint_and_passes_the_clients_own_check(
    delivered: Delivered, client: Client
) -> None:
    body = """
folder = snapshot_download(repository)
check = HfApi().verify_repo_checksums(repository)
again = snapshot_download(repository, revision=check.revision, local_files_only=True)
return [folder, again, check.revision, check.checked_count, check.mismatches, check.missing_paths, check.extra_paths]
"""
    answer = await delivered.run(client, body)
    folder, again, revision, checked, *wrong = answer["result"]
    assert read(folder) == delivered.files
    assert (again, revision, checked, wrong) == (folder, delivered.commit, len(delivered.files), [[], [], []])


async def test_the_two_clients_are_the_newest_two_minor_versions(delivered: Delivered) -> None:
    newest, previous = [
        tuple(int(part) for part in (await delivered.run(client, "return None"))["version"].split(".")[:2])
        for client in CLIENTS
    ]
    assert previous == (newest[0], newest[1] - 1), "renew tests/huggingface-hub-previous.txt"


@pytest.mark.parametrize("client", [*CLIENTS, "transformers-4"])
async def test_a_repository_is_described_listed_and_read_file_by_file(delivered: Delivered, client: Client) -> None:
    body = """
api = HfApi()
about = api.model_info(repository, files_metadata=True)
tree = [(entry.path, type(entry).__name__) for entry in api.list_repo_tree(repository)]
folder = [entry.path for entry in api.list_repo_tree(repository, "notes", recursive=True)]
refs = api.list_repo_refs(repository)
paths = api.get_paths_info(repository, ["config.json", "notes", "nothing"])
weights = api.get_safetensors_metadata(repository)
api.auth_check(repository)
return {
    "about": [about.id, about.author, about.sha, about.private, about.gated, about.library_name, about.pipeline_tag],
    "sha256": {file.rfilename: file.lfs.sha256 for file in about.siblings},
    "files": api.list_repo_files(repository), "tree": tree, "folder": folder,
    "refs": [[ref.name, ref.target_commit] for ref in refs.branches + refs.tags],
    "paths": [entry.path for entry in paths],
    "exists": [api.file_exists(repository, name) for name in ("config.json", "nothing")],
    "revisions": [api.revision_exists(repository, name) for name in ("main", about.sha, "other")],
    "tensors": len(weights.weight_map),
    "listing": HfFileSystem().ls(repository, detail=False),
    "range": list(HfFileSystem().open(repository + "/notes/deep/er.txt").read()),
    "file": open(hf_hub_download(repository, "notes/deep/er.txt", revision="main")).read(),
    "me": api.whoami()["orgs"][0]["name"],
}
"""
    result = (await delivered.run(client, body))["result"]
    names, commit = sorted(delivered.files), delivered.commit
    assert result["about"] == [
        delivered.repository, delivered.organisation, commit, True, False, "transformers", "text-generation",
    ]  # fmt: skip
    assert result["sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in delivered.files.items()}
    assert sorted(result["files"]) == names
    assert dict(result["tree"]) == {
        "config.json": "RepoFile", "extra.bin": "RepoFile", "model.safetensors": "RepoFile",
        "notes": "RepoFolder", "tokenizer.json": "RepoFile",
    }  # fmt: skip
    assert result["folder"] == ["notes/deep", "notes/deep/er.txt", "notes/empty.txt"]
    assert result["refs"] == [["main", commit], [delivered.checkpoint, commit]]
    assert result["paths"] == ["config.json", "notes"]
    assert (result["exists"], result["revisions"]) == ([True, False], [True, True, False])
    assert result["tensors"] == 2 + 2 * 9
    assert [name.removeprefix(f"{delivered.repository}/") for name in result["listing"]] == [
        "config.json", "extra.bin", "model.safetensors", "notes", "tokenizer.json",
    ]  # fmt: skip
    assert (bytes(result["range"]), result["file"]) == (b"deep", "deep")
    assert result["me"] == delivered.organisation


@pytest.mark.parametrize("client", ["newest", "transformers-4"])
async def test_transformers_loads_a_job_by_its_name(delivered: Delivered, client: Client) -> None:
    body = """
import torch, transformers
torch.set_num_threads(1)
model = transformers.AutoModelForCausalLM.from_pretrained(repository)
tokenizer = transformers.AutoTokenizer.from_pretrained(repository)
writer = transformers.pipeline(model=repository)
return [transformers.__version__, sum(weight.numel() for weight in model.parameters()),
        tokenizer("word", add_special_tokens=False)["input_ids"], writer.task]
"""
    version, parameters, ids, task = (await delivered.run(client, body))["result"]
    assert version.startswith("4." if client == "transformers-4" else "5.")
    assert (parameters, ids, task) == (16 * 8 + 2 * (4 * 8 * 8 + 3 * 12 * 8 + 2 * 8) + 8, [2], "text-generation")


async def test_the_requests_of_vllms_loader_are_answered(delivered: Delivered) -> None:
    """vLLM 0.33: vllm/transformers_utils/repo_utils.py and vllm/model_executor/model_loader/weight_utils.py."""
    body = """
import fnmatch, os
api = HfApi(library_name="vllm", library_version="0.33.0")
revision = api.resolve_revision(repository)
files = api.list_repo_files(repository, revision=revision)
others = api.snapshot_download(repository, revision=revision, ignore_patterns=["*.safetensors", "*.bin"])
config = hf_hub_download(repository, "config.json", revision=revision)
metadata = api.get_safetensors_metadata(repository, revision=revision)
listed = HfFileSystem().ls(os.path.join(repository, ""), detail=False, revision=revision)
weights = api.snapshot_download(repository, allow_patterns="*.safetensors", revision=revision)
return [revision.resolved, "config.json" in files, os.path.dirname(config) == others == weights,
        len(metadata.files_metadata), len(fnmatch.filter(listed, "*.safetensors")), sorted(os.listdir(weights))]
"""
    result = (await delivered.run("newest", body))["result"]
    present = ["config.json", "model.safetensors", "notes", "tokenizer.json"]
    assert result == [delivered.commit, True, True, 1, 1, present]


async def test_main_of_a_model_is_its_head_and_moves_with_it(delivered: Delivered) -> None:
    service, model = delivered.service, f"{delivered.organisation}/demo"
    body = "return [snapshot_download(repository), HfApi().model_info(repository).sha]"
    first, commit = (await delivered.run("newest", body, model))["result"]
    assert (read(first), commit) == (delivered.files, delivered.commit)
    async with service.client(organisation=delivered.organisation) as client:
        job = await submit(client)
        later = {**delivered.files, "config.json": delivered.files["config.json"] + b"\n"}
        checkpoint = await finish_job(service, job, await claim_job(service, job), later)
        assert (await client.get("/v1/models/demo")).json()["head"] == checkpoint
    second, other = (await delivered.run("newest", body, model))["result"]
    assert (read(second), other != commit) == (later, True)
    # the former head stays a revision, by its commit and by its checkpoint's id
    named = "return [snapshot_download(repository, revision=name) for name in {!r}]"
    answer = await delivered.run("newest", named.format([commit, delivered.checkpoint]), model)
    assert [read(folder) for folder in answer["result"]] == [delivered.files] * 2


async def test_a_model_without_a_head_and_a_job_without_a_checkpoint_have_no_main(
    service: Service, tmp_path: Path
) -> None:
    organisation = uuid4().hex
    async with service.client(organisation=organisation) as client:
        await register_ready_model(service, client)
        job = await submit(client)
        token = client.headers["Authorization"].removeprefix("Bearer ")
    for name in ("demo", job):
        answer = await run_client(
            "newest", "return snapshot_download(repository)", f"{organisation}/{name}",
            home=tmp_path, endpoint=f"{service.url}/hub", token=token,
        )  # fmt: skip
        assert answer["error"] == "RevisionNotFoundError", answer
        assert "has no checkpoint yet" in answer["message"]


ASK = """
def errors(name, token, revision=None):
    for ask in (
        lambda: HfApi(token=token).model_info(name, revision=revision),
        lambda: snapshot_download(name, token=token, revision=revision),
        lambda: hf_hub_download(name, "config.json", token=token, revision=revision),
    ):
        try:
            yield [None, ask() and None]
        except (HfHubHTTPError, OSError) as error:
            yield [type(error).__name__, str(error)]
"""


@pytest.mark.parametrize("client", CLIENTS)
async def test_errors_are_those_of_the_hub(delivered: Delivered, client: Client) -> None:
    own, organisation = delivered.repository, delivered.organisation
    powerless = await delivered.service.key("files:write", organisation=organisation)
    stranger = await delivered.service.key(organisation=uuid4().hex)
    cases: dict[str, tuple[str, str | bool, str | None]] = {
        "unknown": (f"{organisation}/nothing", delivered.token, None),
        "elsewhere": (f"another/{delivered.job}", delivered.token, None),
        "no token": (own, False, None),
        "wrong token": (own, "ulk_no_key_at_all", None),
        "powerless": (own, powerless, None),
        "stranger": (own, stranger, None),
        "revision": (own, delivered.token, "v2"),
        "request": (own, delivered.token, "refs/pr/1"),
        "commit": (own, delivered.token, "0" * 40),
    }
    body = ASK + f"return {{name: list(errors(*case)) for name, case in {cases!r}.items()}}"
    result = (await delivered.run(client, body))["result"]
    kinds = {name: {kind for kind, _ in errors} for name, errors in result.items()}
    assert kinds == {
        "unknown": {"RepositoryNotFoundError"},
        "elsewhere": {"RepositoryNotFoundError"},
        "no token": {"RepositoryNotFoundError"},
        "wrong token": {"HfHubHTTPError"},
        "powerless": {"GatedRepoError"},
        "stranger": {"RepositoryNotFoundError"},
        "revision": {"RevisionNotFoundError"},
        "request": {"RevisionNotFoundError"},
        "commit": {"RevisionNotFoundError"},
    }
    remedies = {"no token": "HF_TOKEN", "wrong token": "Invalid credentials", "powerless": "jobs:read"}
    for name, remedy in remedies.items():
        assert all(remedy in message for _, message in result[name]), result[name]


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_missing_file_is_named_so_and_remembered_for_the_commit(delivered: Delivered, client: Client) -> None:
    missing = await delivered.run(client, 'return hf_hub_download(repository, "nothing.json")')
    assert missing["error"] == "RemoteEntryNotFoundError"
    assert len(list((delivered.home / "hub").glob(f"**/.no_exist/{delivered.commit}/nothing.json"))) == 1
    folder = await delivered.run(client, 'return list(HfApi().list_repo_tree(repository, "no/such"))')
    assert folder["error"] == "RemoteEntryNotFoundError"


@pytest.mark.parametrize("client", CLIENTS)
async def test_an_unreleased_checkpoint_is_gated_and_the_remedy_is_named(delivered: Delivered, client: Client) -> None:
    await delivered.change(released=False)
    reader = await delivered.service.key("jobs:read", organisation=delivered.organisation)
    body = ASK + f"return list(errors(repository, {reader!r}))"
    about, *downloads = (await delivered.run(client, body))["result"]
    assert about == [None, None]
    for kind, message in downloads:
        assert kind == "GatedRepoError"
        assert f"POST /v1/checkpoints/{delivered.checkpoint}/release" in message
    auth = await delivered.run(client, "return HfApi().auth_check(repository)", token=reader)
    assert auth["error"] == "GatedRepoError"
    gated = await delivered.run(client, "return HfApi().model_info(repository).gated", token=reader)
    assert gated["result"] == "manual"
    releaser = await delivered.service.key("jobs:read", "release:write", organisation=delivered.organisation)
    allowed = await delivered.run(client, "return snapshot_download(repository)", token=releaser)
    assert read(allowed["result"]) == delivered.files


ADAPTER = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
LOAD_ADAPTER = """
import peft, torch, transformers
torch.set_num_threads(1)
base = transformers.AutoModelForCausalLM.from_pretrained(repository)
loaded = peft.PeftModel.from_pretrained(base, {!r})
weights = [float(weight.sum()) for name, weight in loaded.named_parameters() if "lora" in name]
return [HfApi().model_info({!r}).library_name, weights]
"""


async def test_an_adapter_is_loaded_by_peft(delivered: Delivered, tmp_path: Path) -> None:
    layers = [f"base_model.model.model.layers.{number}.self_attn.q_proj" for number in range(2)]
    weights = {f"{layer}.lora_A.weight": numpy.ones((2, 8), "float32") for layer in layers}
    weights |= {f"{layer}.lora_B.weight": numpy.ones((8, 2), "float32") for layer in layers}
    files = {"adapter_config.json": json.dumps(ADAPTER).encode(), "adapter_model.safetensors": save(weights)}
    async with delivered.service.client(organisation=delivered.organisation) as client:
        job = await submit(client)
        await finish_job(delivered.service, job, await claim_job(delivered.service, job), files)
    adapter = f"{delivered.organisation}/{job}"
    answer = await delivered.run("newest", LOAD_ADAPTER.format(adapter, adapter))
    assert answer["result"] == ["peft", [16.0] * 4]


@pytest.mark.parametrize("client", [*CLIENTS, "transformers-4"])
async def test_a_broken_download_is_resumed_where_it_broke(delivered: Delivered, client: Client) -> None:
    """The newest clients resume by themselves; huggingface_hub 0.36 when it is called again."""
    body = """
try:
    return hf_hub_download(repository, "extra.bin")
except Exception:
    return hf_hub_download(repository, "extra.bin")
"""
    async with breaking_line(delivered.service.url, "/extra.bin", cut=CUT) as line:
        answer = await delivered.run(client, body, endpoint=f"{line.url}/hub")
    assert read_file(answer["result"]) == EXTRA
    first, second = line.ranges
    assert (first, second.startswith("bytes=")) == ("all", True)
    assert 10 << 20 <= int(second.removeprefix("bytes=").split("-")[0]) <= CUT


async def test_the_command_of_the_hub_downloads_a_checkpoint(delivered: Delivered) -> None:
    body = """
import subprocess, sys
command = [sys.executable, "-m", "huggingface_hub.cli.hf", "download", repository, "config.json"]
done = subprocess.run(command, capture_output=True, text=True)
return [done.returncode, done.stdout, done.stderr]
"""
    code, out, error = (await delivered.run("newest", body))["result"]
    assert code == 0, error
    assert "config.json" in out
