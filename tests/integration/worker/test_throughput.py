"""The throughput of a worker's machine: measured once, beside jobs, and what becomes of a process that fails."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.records import workers
from core.schema.throughput import Throughput, Throughputs
from tests.integration.worker.worker_setup import WorkerSetup, log_lines, terminate, wait_for
from worker import throughput
from worker.device_slots import DeviceSlots
from worker.shutdown import ShutdownEvent
from worker.throughput import ThroughputMeter

FIGURES = Throughput(width=256, forward=4e10, update=6e10)
SCRIPT = """
import os, sys, time
print("ready", flush=True)
sys.stdin.readline()
with open(sys.argv[1], "a") as starts:
    print(os.getpid(), file=starts)
time.sleep(float(sys.argv[2]))
print(sys.argv[3], flush=True)
"""
"""A process that says that it was asked to measure, and answers after so many seconds."""


@pytest.fixture
def shutdown() -> Iterator[ShutdownEvent]:
    event = ShutdownEvent()
    yield event
    event.set()


@pytest.fixture
def slots(tmp_path: Path) -> DeviceSlots:
    return DeviceSlots(gpus=(), cpu_slots=1, lock_dir=tmp_path)


def asked(folder: Path) -> list[int]:
    """Returns the processes that were asked to measure so far."""
    starts = folder / "starts"
    return [int(line) for line in starts.read_text().splitlines()] if starts.exists() else []


def meter_with(setup: WorkerSetup, slots: DeviceSlots, shutdown: ShutdownEvent, *answer: str) -> ThroughputMeter:
    command = [sys.executable, "-c", SCRIPT, str(setup.folder / "starts"), *answer]
    return ThroughputMeter(setup.settings, slots, 1, shutdown, command=command)


async def test_a_workers_row_holds_what_it_measured_and_a_restart_measures_nothing(setup: WorkerSetup) -> None:
    async def stored() -> list[Throughput]:
        async with setup.scene.sessions() as session:
            return await workers.measured_throughputs(session, gpus=0, stale_seconds=60)

    first = setup.worker(WORKER_THROUGHPUT="1")
    (measured,) = await wait_for(stored, seconds=120)
    assert measured.forward > 1e8
    assert measured.update > 1e8
    (line,) = log_lines(first, "throughput measured")
    assert line["forward"] == measured.forward
    terminate(first)
    assert await first.exit_code(seconds=30) == 0
    assert await stored() == [measured], "the latest worker's counts where none is up"
    second = setup.worker(WORKER_THROUGHPUT="1")

    async def both() -> bool:
        async with setup.scene.sessions() as session:
            return len(await workers.measured_throughputs(session, gpus=0, stale_seconds=3e9)) == 2

    await wait_for(both)
    assert await stored() == [measured]
    assert log_lines(second, "throughput measured") == []


async def test_a_job_ends_the_measurement_which_is_made_again_when_the_device_is_free(
    setup: WorkerSetup, slots: DeviceSlots, shutdown: ShutdownEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "IDLE_SECONDS", 0.2)
    meter = meter_with(setup, slots, shutdown, "1.0", FIGURES.model_dump_json())
    meter.start()

    async def times(count: int) -> bool:
        return len(asked(setup.folder)) == count

    await wait_for(lambda: times(1))
    devices = slots.take(0)
    assert devices is not None, "a measurement holds no device"
    await asyncio.sleep(1.5)
    assert meter.measured is None
    assert len(asked(setup.folder)) == 1, "nothing is measured beside a job"
    devices.release()
    await wait_for(lambda: times(2))
    await asyncio.to_thread(meter.join, 20)
    assert meter.measured == Throughputs({"cpu": FIGURES})
    again = meter_with(setup, slots, shutdown, "0", "nothing: it must not run")
    again.start()
    await asyncio.to_thread(again.join, 20)
    assert again.measured == meter.measured
    assert len(asked(setup.folder)) == 2


@pytest.mark.parametrize("answer", ["nonsense", '{"width": 256, "forward": 0, "update": 1}'])
async def test_a_failed_measurement_is_logged_and_leaves_no_figure(
    setup: WorkerSetup,
    slots: DeviceSlots,
    shutdown: ShutdownEvent,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: str,
) -> None:
    monkeypatch.setattr(throughput, "IDLE_SECONDS", 0.0)
    meter = meter_with(setup, slots, shutdown, "0", answer)
    meter.start()
    await asyncio.to_thread(meter.join, 20)
    assert not meter.is_alive()
    assert meter.measured is None
    assert "throughput not measured" in caplog.text
    assert not (setup.scratch / throughput.FILE).exists()


async def test_a_stopping_worker_ends_the_measurement(
    setup: WorkerSetup, slots: DeviceSlots, shutdown: ShutdownEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "IDLE_SECONDS", 0.0)
    meter = meter_with(setup, slots, shutdown, "60", "late")
    meter.start()

    async def begun() -> bool:
        return bool(asked(setup.folder))

    await wait_for(begun)
    shutdown.set()
    await asyncio.to_thread(meter.join, 10)
    assert not meter.is_alive()
    assert meter.measured is None
