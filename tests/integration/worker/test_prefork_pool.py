"""The waiting child: the job that gets it, its state then, and that it leaves nothing behind."""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.worker.worker_setup import REPOSITORY, WorkerSetup, log_lines, terminate, wait_for
from worker import prefork_pool
from worker.child import Child, child_environment
from worker.prefork_pool import PreforkPool
from worker.shutdown import ShutdownEvent

REPORT = """
import json, os, sys, tempfile, threading
from core.pipeline import preimport
from core.pipeline.channel import Channel
out = os.dup(1)
channel = Channel()
while_importing = []
def import_all():
    tempfile.gettempdir()
    while_importing.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
preimport.import_all = import_all
if len(sys.argv) > 1:
    from core.pipeline.prefork import wait_for_job
    wait_for_job(int(sys.argv[1]))
report = {"environment": dict(os.environ), "temporary": tempfile.gettempdir(), "nice": os.nice(0), "pid": os.getpid()}
os.write(out, json.dumps(report | {"while_importing": while_importing}).encode() + b"\\n")
sys.stdin.read()
"""
"""A child that waits as the real one does, but for the seconds of importing, and reports its state to its job."""
COMMAND = (sys.executable, "-c", REPORT)


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment that the waiting child is started with."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return child_environment(gpus=(), threads=1, folder=tmp_path)


@contextlib.contextmanager
def running_pool(base: dict[str, str], command: Sequence[str] = COMMAND) -> Iterator[tuple[PreforkPool, ShutdownEvent]]:
    shutdown = ShutdownEvent()
    pool = PreforkPool(base, shutdown, command=command)
    starter = threading.Thread(target=pool.start)  # the thread that starts the pool may end
    starter.start()
    starter.join()
    try:
        yield pool, shutdown
    finally:
        shutdown.set()


async def take_child(
    pool: PreforkPool, env: dict[str, str], descriptors: Sequence[int] = (), *, seconds: float = 20
) -> "subprocess.Popen[bytes]":
    async def take() -> "subprocess.Popen[bytes] | None":
        return pool.take(env, descriptors)

    process = await wait_for(take, seconds=seconds)
    assert process is not None
    return process


async def read_report(child: Child) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(await child._stdout.readline())
    return line


@pytest.fixture
def own_children() -> Callable[[], set[int]]:
    """Returns the processes that this process has started since the test began: other tests' servers may be up."""

    def alive() -> set[int]:
        return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}

    before = alive()
    return lambda: alive() - before


async def test_a_waiting_child_ends_up_like_a_child_started_for_the_job(base: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    env = child_environment(gpus=(1, 3), threads=1, folder=folder)
    with running_pool(base | {"TZ_OF_NOBODY": "1"}) as (pool, _):
        async with Child.start(COMMAND, env=env) as cold, Child(await take_child(pool, env)) as child:
            expected, report = await read_report(cold), await read_report(child)
    assert report["environment"] == expected["environment"]
    assert report["environment"]["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert report["temporary"] == str(folder)
    assert report["nice"] == expected["nice"]
    assert report["while_importing"] == [19]


async def test_locks_that_are_handed_over_are_held_until_the_child_ends(base: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "unlearn-gpu-0.lock"
    path.touch()
    lock, again = (os.open(path, os.O_RDONLY) for _ in range(2))
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    async def free() -> bool:
        try:
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with running_pool(base) as (pool, _):
        process = await take_child(pool, base, [lock])
        os.close(lock)
        async with Child(process) as child:
            assert not await free()  # even before the child has received them
            await read_report(child)
            assert not await free()
            process.kill()
            await wait_for(free, seconds=30)
    os.close(again)


async def test_a_child_serves_one_job_and_the_next_child_starts_when_it_is_asked_for(
    base: dict[str, str], own_children: Callable[[], set[int]]
) -> None:
    with running_pool(base) as (pool, _):
        first = await take_child(pool, base)
        async with Child(first):
            await asyncio.sleep(0.5)
            assert own_children() == {first.pid}
            pool.prepare_next()
            async with Child(await take_child(pool, base)) as second:
                assert second.pid != first.pid
                assert (await read_report(second))["pid"] == second.pid


async def test_a_job_waits_for_the_child_that_is_importing_and_a_second_job_does_not(base: dict[str, str]) -> None:
    with running_pool(base) as (pool, _):

        async def begun() -> bool:
            return pool._waiting is not None

        await wait_for(begun)
        assert pool.take(base, ()) is None
        first = asyncio.create_task(pool.wait_ready())
        await asyncio.sleep(0)
        await asyncio.wait_for(pool.wait_ready(), 60)
        assert not first.done()
        await first
        process = pool.take(base, ())
        assert process is not None
        async with Child(process):
            await asyncio.wait_for(pool.wait_ready(), 60)  # no child is importing


async def test_a_job_does_not_wait_for_a_child_that_died_or_does_not_come(
    base: dict[str, str], monkeypatch: pytest.MonkeyPatch, own_children: Callable[[], set[int]]
) -> None:
    with running_pool(base, (sys.executable, "-c", "import time; time.sleep(60)")) as (pool, _):

        async def begun() -> bool:
            return bool(own_children())

        await wait_for(begun)
        waiting = asyncio.create_task(pool.wait_ready())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        (pid,) = own_children()
        os.kill(pid, 9)
        await asyncio.wait_for(waiting, 60)
        await wait_for(begun)
        monkeypatch.setattr(prefork_pool, "READY_SECONDS", 0.1)
        await asyncio.wait_for(pool.wait_ready(), 60)


async def test_of_many_threads_that_take_at_once_only_one_gets_the_child(base: dict[str, str]) -> None:
    with running_pool(base) as (pool, _):

        async def waits() -> bool:
            return pool._waiting is not None and pool._waiting.is_ready()

        await wait_for(waits)
        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(lambda _: pool.take(base, ()), range(8)))
        (process,) = (result for result in results if result is not None)
        async with Child(process):
            pass


async def test_a_child_that_dies_while_it_waits_is_not_handed_out_and_is_replaced(
    base: dict[str, str], caplog: pytest.LogCaptureFixture, own_children: Callable[[], set[int]]
) -> None:
    with running_pool(base) as (pool, _):

        async def waits() -> bool:
            return pool._waiting is not None and pool._waiting.is_ready()

        await wait_for(waits)
        (pid,) = own_children()
        os.kill(pid, 9)

        async def dead() -> bool:
            return pid not in own_children()

        await wait_for(dead)
        assert pool.take(base, ()) is None
        async with Child(await take_child(pool, base)) as child:
            assert child.pid != pid
    assert [record.__dict__["status"] for record in caplog.records if "died while" in record.message] == [-9]


async def test_children_that_cannot_import_are_started_again_only_after_a_pause(
    base: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with running_pool(base, (sys.executable, "-c", "import no_such_module")):
        await asyncio.sleep(2.5)
    deaths = [record for record in caplog.records if "died while" in record.message]
    assert 1 <= len(deaths) <= 2
    assert deaths[0].__dict__["frames"] == ["<string>:1 <module>", "ModuleNotFoundError"]


async def test_a_shutdown_ends_the_waiting_child_at_once_and_leaves_the_working_one(
    base: dict[str, str], own_children: Callable[[], set[int]]
) -> None:
    with running_pool(base) as (pool, shutdown):
        async with Child(await take_child(pool, base)) as working:
            await read_report(working)
            pool.prepare_next()

            async def second_has_started() -> bool:
                return len(own_children()) == 2

            async def only_the_working_is_left() -> bool:
                return own_children() == {working.pid}

            await wait_for(second_has_started)
            shutdown.set()
            await wait_for(only_the_working_is_left, seconds=30)
            await asyncio.sleep(0.3)
            assert own_children() == {working.pid}


def test_answers_that_libraries_cached_without_a_device_are_forgotten(base: dict[str, str]) -> None:
    script = """
import os, threading
from core.pipeline import preimport
def import_all():
    from torch.utils._triton import has_triton
    has_triton()
    assert has_triton.cache_info().currsize == 1
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
preimport.import_all = import_all
from core.pipeline.prefork import driver_asked, preload
preload()
from torch.utils._triton import has_triton
print(has_triton.cache_info().currsize, os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"), driver_asked())
"""
    finished = subprocess.run([sys.executable, "-c", script], env=base, capture_output=True, text=True, check=True)
    assert finished.stdout.split() == ["0", "None", "False"]


async def test_each_job_has_a_waiting_child_of_its_own_and_a_killed_worker_leaves_no_process(
    setup: WorkerSetup,
) -> None:
    worker = setup.worker(WORKER_WARM_CHILDREN="1")

    waited: list[int] = []
    for _ in range(2):

        async def waits() -> bool:
            return len(log_lines(worker, "child waits")) > len(waited)

        await wait_for(waits)
        waited.append(log_lines(worker, "child waits")[-1]["pid"])
        row = await setup.wait_for_status(await setup.job(), "succeeded", "failed")
        assert row.status == "succeeded", (row.error, setup.logs())
    starts = [(start["pid"], start["warm"]) for start in log_lines(worker, "child starts")]
    assert starts == [(pid, True) for pid in waited]
    assert len(set(waited)) == 2

    async def gone() -> bool:
        return not psutil.pid_exists(waited[-1]) and not following.is_running()

    following = await wait_for(lambda: child_other_than(worker.process, waited[-1]))
    assert following is not None
    worker.kill()
    await wait_for(gone, seconds=60)  # a child that has just begun to import notices at the end of its imports


async def child_other_than(worker: psutil.Process, pid: int) -> psutil.Process | None:
    return next((child for child in worker.children() if child.pid != pid), None)


async def test_a_worker_that_is_told_to_stop_leaves_no_child_waiting(setup: WorkerSetup) -> None:
    worker = setup.worker(WORKER_WARM_CHILDREN="1")
    waiting = await worker.child()

    async def here() -> bool:
        return bool(log_lines(worker, "worker starts"))

    await wait_for(here)
    await asyncio.sleep(0.5)
    terminate(worker)
    assert await worker.exit_code(seconds=15) == 0
    assert not waiting.is_running()
