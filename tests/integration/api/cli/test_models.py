"""`unlearn models` and `files` against the running API."""

from pathlib import Path
from uuid import uuid4

import httpx

from tests.integration.api.cli.command import Run, document, output_lines
from tests.integration.api.model_directory import write_model
from tests.integration.api.service import Service, upload_records


async def test_a_model_is_registered_with_its_files_shown_listed_and_deleted(
    unlearn: Run, service: Service, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    directory = write_model(service.roots / uuid4().hex)
    retain = tmp_path / "retain.txt"
    retain.write_text("A record to keep.")
    unseen = await upload_records(client, "unseen")
    options = ("--retain", str(retain), "--unseen", unseen, "--training-tokens", "900")
    registered = await unlearn("models", "register", "demo", str(directory), *options, "--wait")
    assert (registered.exit_code, output_lines(registered)) == (0, ["demo is ready"]), registered.output
    assert "retain.txt: 1 record, read as txt" in registered.stderr
    model = (await client.get("/v1/models/demo")).json()
    assert document(await unlearn("models", "show", "demo", "--json")) == model
    assert (model["defaults"]["unseen"], model["training_tokens"]) == (unseen, 900)
    shown = dict(line.split(maxsplit=1) for line in output_lines(await unlearn("models", "show", "demo")))
    assert (shown["model"], shown["status"], shown["digest"]) == ("demo", "ready", model["digest"])
    assert document(await unlearn("models", "list", "--json"))["data"] == [model]
    head, row = output_lines(await unlearn("models", "list"))
    assert head.split()[:4] == ["model", "status", "weights", "policy"]
    assert row.split()[:3] == ["demo", "ready", f"{model['shape']['parameters']:,}"]
    assert document(await unlearn("models", "delete", "demo", "--json")) == {"deleted": ["demo"]}
    assert (await client.get("/v1/models/demo")).status_code == 404


async def test_a_refused_registration_leaves_no_file_behind(
    unlearn: Run, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    retain = tmp_path / "retain.txt"
    retain.write_text("A record to keep.")
    refused = await unlearn("models", "register", "demo", "/nowhere", "--retain", str(retain))
    assert refused.exit_code == 1
    assert (await client.get("/v1/files")).json()["data"] == []


async def test_a_file_is_uploaded_and_shown(unlearn: Run, client: httpx.AsyncClient, tmp_path: Path) -> None:
    file = tmp_path / "people.txt"
    file.write_text("Zorvek was here.")
    uploaded = document(await unlearn("files", "upload", str(file), "--purpose", "forget", "--json"))
    assert uploaded == (await client.get(f"/v1/files/{uploaded['id']}")).json()
    assert document(await unlearn("files", "show", uploaded["id"], "--json")) == uploaded
    shown = output_lines(await unlearn("files", "show", uploaded["id"]))
    assert shown[-1] == "people.txt: 1 record, read as txt, UTF-8, text"
    again = tmp_path / "again.txt"
    assert (await unlearn("files", "download", uploaded["id"], "--out", str(again))).exit_code == 0
    assert again.read_bytes() == file.read_bytes()
    assert document(await unlearn("files", "list", "--json"))["data"] == [uploaded]
    listed = output_lines(await unlearn("files", "list"))
    assert listed[1].split()[:5] == [uploaded["id"], "forget", "1", "16", "B"]
    assert "Zorvek" not in "".join([*shown, *listed])
