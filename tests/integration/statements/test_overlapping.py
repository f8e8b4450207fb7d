"""A third party checks jobs whose sets repeat each other's records, and whose files train or measure only."""

from collections.abc import Sequence
from pathlib import Path

from core.schema.record import Record
from tests.integration.api.service import upload, wait_for_registration
from tests.integration.statements.conftest import Delivered, lines
from tests.integration.statements.third_party import failures, verify

FORGET, RETAIN, UNSEEN = (lines(name).splitlines(keepends=True) for name in ("forget", "retain", "unseen"))
OTHER, GENERAL = (lines(name).splitlines(keepends=True) for name in ("other", "general"))
REPEATED = [
    FORGET[0],
    Record(text=f"  {Record.model_validate_json(FORGET[1]).scored_text}\r\n").to_json() + "\n",
    Record(text=f"As it was written: {Record.model_validate_json(FORGET[2]).scored_text} So it was.").to_json() + "\n",
]
"""Records to forget in other sets: the same, the same but for the space around it, and within another text."""
FIGURES = ("--checkpoint", "checkpoint", "--keys", "jwks.json", "--remeasure", "--threads", "1")


async def send(delivered: Delivered, folder: Path, name: str, purpose: str, text: Sequence[str]) -> str:
    """Keeps the records on the third party's machine, and returns the id of the service's file."""
    (folder / f"{name}.jsonl").write_text("".join(text))
    answer = await upload(delivered.client, "".join(text), purpose)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def submit(delivered: Delivered, **body: object) -> str:
    # one update of a defended training may be no better than none
    training = {"epochs": 1, "relearning_defence": "none", "conflicting_gradients": "add", "scheduler": "linear"}
    request = {"model": "overlapping", "training": training, **body}
    answer = await delivered.client.post("/v1/jobs", json=request)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def test_every_figure_of_jobs_with_overlapping_sets_is_made_again(delivered: Delivered, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    files = {
        "forget": await send(delivered, first, "forget", "forget", FORGET[:14]),
        "retain": await send(delivered, first, "retain", "retain", [*RETAIN, *REPEATED, *UNSEEN[:3]]),
        "general": await send(delivered, first, "general", "general", [*GENERAL, *RETAIN[:4], REPEATED[1]]),
        "retain-general": await send(delivered, first, "retain-general", "general", [*OTHER[:8], *GENERAL[:8]]),
        "unseen": await send(delivered, first, "unseen", "unseen", [*UNSEEN, *REPEATED[1:], *RETAIN[4:6]]),
        "unseen-own": await send(delivered, first, "unseen-own", "unseen", [*OTHER[8:], *UNSEEN[3:9]]),
        "probes": await send(delivered, first, "probes", "probes", FORGET[2:6]),
    }
    defaults = {"unseen": files["unseen"], "general": files["general"]}
    model = {"id": "overlapping", "source": str(delivered.base), "defaults": defaults, "release": "always"}
    assert (await delivered.client.post("/v1/models", json=model)).status_code == 202
    assert (await wait_for_registration(delivered.client, "overlapping"))["status"] == "ready"
    retain = [{"file": files["retain"]}, {"file": files["retain-general"], "kind": "general"}]
    others = {"unseen": {"file": files["unseen-own"]}, "probes": {"file": files["probes"]}}
    job = await submit(delivered, forget={"file": files["forget"]}, retain=retain, **others)
    state = await delivered.fetch(job, first)
    assert "overlapping_sets" in {warning["code"] for warning in state["warnings"]}
    assert {used["part"] for used in state["data"]} == {None, "trains", "measures"}

    options = ["--retain", "retain-general.jsonl", "--retain", "retain.jsonl", "--unseen", "unseen-own.jsonl"]
    options += [part for name in ("forget", "general", "probes", "unseen") for part in (f"--{name}", f"{name}.jsonl")]
    given = [*FIGURES, "--before", str(delivered.base), *options]
    code, output = verify(first, *given)
    assert (code, failures(output)) == (0, []), output
    assert "they agree to the last digit" in output
    assert "values of figures that are others here" not in output

    # the second forgets some of the same, and would keep what the first forgot, which is deleted by now
    again = await send(delivered, second, "forget", "forget", FORGET[10:])
    kept = await send(delivered, second, "retain", "retain", [*RETAIN, *FORGET[3:5]])
    deleted = await delivered.client.delete(f"/v1/files/{files['forget']}")
    assert deleted.status_code in (204, 404), deleted.text
    job = await submit(delivered, forget={"file": again}, retain=[{"file": kept}])
    state = await delivered.fetch(job, second)
    assert "overlapping_sets" in {warning["code"] for warning in state["warnings"]}
    options = ["--forget", "forget.jsonl", "--retain", "retain.jsonl"]
    options += [part for name in ("unseen", "general") for part in (f"--{name}", str(first / f"{name}.jsonl"))]
    given = [*FIGURES, "--before", str(first / "checkpoint"), *options]
    code, output = verify(second, *given)
    assert (code, failures(output)) == (0, []), output
    assert "not checked    figures.after.previously_forgotten" in output
    # of the records to forget only what draws other names from all sets
    (line,) = [line for line in output.splitlines() if "figures.after.sets.forget: " in line]
    assert all(name.startswith("exposure") for name in line.partition("forget: ")[2].split(", ")), line
