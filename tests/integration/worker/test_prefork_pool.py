"""The child that waits: who gets it, what it then is, and that nothing of it is left behind."""

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

from tests.integration.worker.stage import REPOSITORY, Stage, terminate, told, until
from worker import prefork_pool as warm_module
from worker.child import Child, child_environment
from worker.prefork_pool import PreforkPool
from worker.shutdown import ShutdownEvent

TELL = """
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
told = {"environment": dict(os.environ), "temporary": tempfile.gettempdir(), "nice": os.nice(0), "pid": os.getpid()}
os.write(out, json.dumps(told | {"while_importing": while_importing}).encode() + b"\\n")
sys.stdin.read()
"""
"""Waits as the real one does, but for the seconds of importing; says what it is when it is a job's."""
COMMAND = (sys.executable, "-c", TELL)


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """What the child that waits is started with."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return child_environment(gpus=(), threads=1, folder=tmp_path)


@contextlib.contextmanager
def keeping(base: dict[str, str], command: Sequence[str] = COMMAND) -> Iterator[tuple[PreforkPool, ShutdownEvent]]:
    stopping = ShutdownEvent()
    warm = PreforkPool(base, stopping, command=command)
    begin = threading.Thread(target=warm.start)  # the thread that starts it may end
    begin.start()
    begin.join()
    try:
        yield warm, stopping
    finally:
        stopping.begin()


async def taken(
    warm: PreforkPool, env: dict[str, str], descriptors: Sequence[int] = (), *, seconds: float = 20
) -> "subprocess.Popen[bytes]":
    async def take() -> "subprocess.Popen[bytes] | None":
        return warm.take(env, descriptors)

    process = await until(take, seconds=seconds)
    assert process is not None
    return process


async def heard(child: Child) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(await child._stdout.readline())
    return line


@pytest.fixture
def own_children() -> Callable[[], set[int]]:
    """The processes that this one has started since the test began: the servers of other tests may be up."""

    def alive() -> set[int]:
        return {one.pid for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE}

    before = alive()
    return lambda: alive() - before


async def test_a_taken_child_is_what_one_started_for_the_job_would_be(base: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    env = child_environment(gpus=(1, 3), threads=1, folder=folder)
    with keeping(base | {"TZ_OF_NOBODY": "1"}) as (warm, _):
        async with Child.start(COMMAND, env=env) as cold, Child(await taken(warm, env)) as child:
            asked, answer = await heard(cold), await heard(child)
    assert answer["environment"] == asked["environment"]
    assert answer["environment"]["CUDA_VISIBLE_DEVICES"] == "1,3"
    assert answer["temporary"] == str(folder)
    assert answer["nice"] == asked["nice"]
    assert answer["while_importing"] == [19]


async def test_the_locks_that_are_handed_over_are_held_until_the_child_ends(
    base: dict[str, str], tmp_path: Path
) -> None:
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

    with keeping(base) as (warm, _):
        process = await taken(warm, base, [lock])
        os.close(lock)
        async with Child(process) as child:
            assert not await free()  # even before it has picked them up
            await heard(child)
            assert not await free()
            process.kill()
            await until(free, seconds=5)
    os.close(again)


async def test_a_child_serves_one_job_and_the_next_waits_when_it_is_asked_for(
    base: dict[str, str], own_children: Callable[[], set[int]]
) -> None:
    with keeping(base) as (warm, _):
        first = await taken(warm, base)
        async with Child(first):
            await asyncio.sleep(0.5)
            assert own_children() == {first.pid}
            warm.prepare()
            async with Child(await taken(warm, base)) as second:
                assert second.pid != first.pid
                assert (await heard(second))["pid"] == second.pid


async def test_a_job_waits_for_the_child_that_is_importing_and_a_second_job_does_not(base: dict[str, str]) -> None:
    with keeping(base) as (warm, _):

        async def begun() -> bool:
            return warm._waiting is not None

        await until(begun)
        assert warm.take(base, ()) is None
        first = asyncio.create_task(warm.coming())
        await asyncio.sleep(0)
        await asyncio.wait_for(warm.coming(), 30)
        assert not first.done()
        await first
        process = warm.take(base, ())
        assert process is not None
        async with Child(process):
            await asyncio.wait_for(warm.coming(), 5)  # none is on its way


async def test_a_job_does_not_wait_for_a_child_that_died_or_does_not_come(
    base: dict[str, str], monkeypatch: pytest.MonkeyPatch, own_children: Callable[[], set[int]]
) -> None:
    with keeping(base, (sys.executable, "-c", "import time; time.sleep(60)")) as (warm, _):

        async def begun() -> bool:
            return bool(own_children())

        await until(begun)
        waiting = asyncio.create_task(warm.coming())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        (pid,) = own_children()
        os.kill(pid, 9)
        await asyncio.wait_for(waiting, 20)
        await until(begun)
        monkeypatch.setattr(warm_module, "PATIENCE_SECONDS", 0.1)
        await asyncio.wait_for(warm.coming(), 20)


async def test_of_many_threads_that_take_at_once_one_gets_it(base: dict[str, str]) -> None:
    with keeping(base) as (warm, _):

        async def waits() -> bool:
            return warm._waiting is not None and warm._waiting.ready()

        await until(waits)
        with ThreadPoolExecutor(8) as threads:
            got = [one for one in threads.map(lambda _: warm.take(base, ()), range(8)) if one is not None]
        assert len(got) == 1
        async with Child(got[0]):
            pass


async def test_a_child_that_dies_while_it_waits_is_not_handed_out_and_is_replaced(
    base: dict[str, str], caplog: pytest.LogCaptureFixture, own_children: Callable[[], set[int]]
) -> None:
    with keeping(base) as (warm, _):

        async def waits() -> bool:
            return warm._waiting is not None and warm._waiting.ready()

        await until(waits)
        (pid,) = own_children()
        os.kill(pid, 9)

        async def dead() -> bool:
            return pid not in own_children()

        await until(dead)
        assert warm.take(base, ()) is None
        async with Child(await taken(warm, base)) as child:
            assert child.pid != pid
    assert [record.__dict__["status"] for record in caplog.records if "died while" in record.message] == [-9]


async def test_children_that_cannot_import_are_not_started_in_a_row(
    base: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with keeping(base, (sys.executable, "-c", "import no_such_module")):
        await asyncio.sleep(2.5)
    deaths = [record for record in caplog.records if "died while" in record.message]
    assert 1 <= len(deaths) <= 2
    assert deaths[0].__dict__["frames"] == ["<string>:1 <module>", "ModuleNotFoundError"]


async def test_shutting_down_ends_the_one_that_waits_at_once_and_leaves_the_one_at_work(
    base: dict[str, str], own_children: Callable[[], set[int]]
) -> None:
    with keeping(base) as (warm, stopping):
        async with Child(await taken(warm, base)) as working:
            await heard(working)
            warm.prepare()

            async def two() -> bool:
                return len(own_children()) == 2

            async def one() -> bool:
                return own_children() == {working.pid}

            await until(two)
            stopping.begin()
            await until(one, seconds=1)
            await asyncio.sleep(0.3)
            assert own_children() == {working.pid}


def test_what_libraries_found_out_without_a_device_is_forgotten(base: dict[str, str]) -> None:
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


async def test_each_job_has_the_child_that_waited_to_itself_and_a_killed_worker_leaves_no_process(stage: Stage) -> None:
    worker = stage.worker(WORKER_WARM_CHILDREN="1")

    waited: list[int] = []
    for _ in range(2):

        async def waits() -> bool:
            return len(told(worker, "child waits")) > len(waited)

        await until(waits)
        waited.append(told(worker, "child waits")[-1]["pid"])
        row = await stage.until_status(await stage.job(), "succeeded", "failed")
        assert row.status == "succeeded", (row.error, stage.logs())
    starts = [(start["pid"], start["warm"]) for start in told(worker, "child starts")]
    assert starts == [(pid, True) for pid in waited]
    assert len(set(waited)) == 2

    async def gone() -> bool:
        return not psutil.pid_exists(waited[-1]) and not following.is_running()

    following = await until(lambda: another(worker.process, waited[-1]))
    assert following is not None
    worker.kill()
    await until(gone, seconds=15)  # one that has only just begun to import notices when it is through


async def another(worker: psutil.Process, than: int) -> psutil.Process | None:
    return next((one for one in worker.children() if one.pid != than), None)


async def test_a_worker_that_is_told_to_stop_leaves_no_child_waiting(stage: Stage) -> None:
    worker = stage.worker(WORKER_WARM_CHILDREN="1")
    waiting = await worker.child()

    async def here() -> bool:
        return bool(told(worker, "worker starts"))

    await until(here)
    await asyncio.sleep(0.5)
    terminate(worker)
    assert await worker.ended(seconds=15) == 0
    assert not waiting.is_running()
