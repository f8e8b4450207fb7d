"""A real supervisor on a claimed job, whose child is a real process that speaks the protocol by rote."""

import asyncio
import sys
import textwrap
from dataclasses import dataclass

from core.records import job_actions
from core.records.notifications import Notifications
from core.records.tables import JobRow
from core.storage import Storage
from tests.integration.worker.stage import CANARY, Stage
from worker.device_slots import DeviceSlots
from worker.shutdown import ShutdownEvent
from worker.supervisor import Attempt, claim_job

PRELUDE = f"""
import json, os, pathlib, signal, socket, sys, time
spec = json.loads(sys.stdin.readline())
def say(kind, **values):
    print(json.dumps({{"kind": kind, **values}}), flush=True)
def records():
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(spec["records"]["path"])
        connection.sendall(spec["records"]["token"].encode() + b"\\n")
        return [json.loads(line) for line in connection.makefile("rb")]
def save():
    output = pathlib.Path(spec["output"])
    output.mkdir()
    (output / "model.safetensors").write_bytes(b"weights")
    say("saved", directory=str(output), step=3)
CANARY = {CANARY!r}
"""


@dataclass
class Play:
    stage: Stage
    stopping: ShutdownEvent
    machine: DeviceSlots
    requests: Notifications | None = None

    async def attempt(self, script: str, *, storage: Storage | None = None) -> Attempt:
        """An attempt at the next job whose child follows the script."""
        claimed = await claim_job(
            self.stage.scene.sessions, worker="play", gpus=0, lease_seconds=self.stage.settings.lease_seconds
        )
        assert claimed is not None
        job, since = claimed
        devices = self.machine.take(0)
        assert devices is not None
        return Attempt(
            job,
            devices,
            since=since,
            sessions=self.stage.scene.sessions,
            storage=storage or self.stage.storage,
            settings=self.stage.settings,
            threads=1,
            stopping=self.stopping,
            requests=self.requests,
            command=(sys.executable, "-c", PRELUDE + textwrap.dedent(script)),
        )

    async def begun(self, script: str) -> tuple[str, asyncio.Task[None]]:
        """A job whose child is training by this script."""
        job = await self.stage.job()
        attending = asyncio.create_task((await self.attempt(script)).attend())
        await self.stage.until_phase(job, "unlearning")
        return job, attending

    async def wish(self, name: str, job: str) -> None:
        """Cancels, pauses or resumes a job."""
        async with self.stage.scene.sessions.begin() as session:
            await getattr(job_actions, name)(session, self.stage.scene.organisation, job)

    async def run(self, script: str, *, storage: Storage | None = None) -> JobRow:
        """A job, an attempt at it to its end, and what became of the job."""
        job = await self.stage.job()
        attempt = await self.attempt(script, storage=storage)
        await attempt.attend()
        return await self.stage.scene.row(job)


WORK = """
assert [one["name"] for one in records()] == ["forget"]
save()
say("done", outcome="unlearned")
"""
