"""A real supervisor on a claimed job, whose child is a real process that follows a script of the protocol."""

import asyncio
import sys
import textwrap
from dataclasses import dataclass

from core.records import job_actions
from core.records.notifications import Notifications
from core.records.tables import JobRow
from core.storage import Storage
from tests.integration.worker.worker_setup import CANARY, WorkerSetup
from worker.claim import claim_job
from worker.device_slots import DeviceSlots
from worker.shutdown import ShutdownEvent
from worker.supervisor import Attempt

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
"""The functions that every script may use."""

WORK = """
assert [sent["name"] for sent in records() if "earlier" not in sent] == ["forget"]
save()
say("done", outcome="unlearned")
"""
"""The script of a child that does a job's work."""


@dataclass
class ScriptedAttempts:
    """Attempts at jobs of `setup`, whose children follow scripts."""

    setup: WorkerSetup
    shutdown: ShutdownEvent
    devices: DeviceSlots
    requests: Notifications | None = None

    async def attempt(self, script: str, *, storage: Storage | None = None) -> Attempt:
        """Claims the next job for an attempt whose child follows the script.

        Like a worker, asks again where another transaction holds the job's row for a moment.
        """
        claimed = None
        async with asyncio.timeout(60):
            while claimed is None:
                claimed = await claim_job(
                    self.setup.scene.sessions,
                    worker="scripted",
                    gpus=0,
                    lease_seconds=self.setup.settings.lease_seconds,
                )
                await asyncio.sleep(0 if claimed else 0.1)
        devices = self.devices.take(0)
        assert devices is not None
        return Attempt(
            claimed,
            devices,
            sessions=self.setup.scene.sessions,
            storage=storage or self.setup.storage,
            settings=self.setup.settings,
            threads=1,
            shutdown=self.shutdown,
            requests=self.requests,
            command=(sys.executable, "-c", PRELUDE + textwrap.dedent(script)),
        )

    async def start(self, script: str) -> tuple[str, asyncio.Task[None]]:
        """Makes a job and starts an attempt at it; returns when its child is training by this script."""
        job = await self.setup.job()
        attending = asyncio.create_task((await self.attempt(script)).attend())
        await self.setup.wait_for_phase(job, "unlearning")
        return job, attending

    async def request(self, action: str, job: str) -> None:
        """Requests `cancel`, `pause` or `resume` of a job."""
        async with self.setup.scene.sessions.begin() as session:
            await getattr(job_actions, action)(session, self.setup.scene.organisation, job)

    async def run(self, script: str, *, storage: Storage | None = None) -> JobRow:
        """Makes a job, carries an attempt at it to its end, and returns the job's row."""
        job = await self.setup.job()
        attempt = await self.attempt(script, storage=storage)
        await attempt.attend()
        return await self.setup.scene.row(job)
