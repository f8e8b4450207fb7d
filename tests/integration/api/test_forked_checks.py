"""Forked processes that several threads wait for and kill, as the API does after a time limit."""

import asyncio
import threading
import time
from functools import cache

import pytest

from tests import fork_server
from tests.integration.api import forked_checks


async def test_a_killed_check_ends_for_the_reader_and_for_all_that_wait() -> None:
    # the pipeline waits for its spec, so it does not end by itself
    check = await forked_checks.start("core.pipeline")
    waiting = [asyncio.create_task(check.wait()) for _ in range(3)]
    reading = asyncio.create_task(asyncio.to_thread(check._process.stdout.read))
    await asyncio.sleep(0.2)
    check.kill()
    assert await asyncio.gather(*waiting) == [-9, -9, -9]
    assert await reading == ""
    assert await check.wait() == -9
    check.kill()
    for pipe in (check._process.stdin, check._process.stdout):
        pipe.close()


async def test_checks_that_start_at_once_share_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []

    @cache
    def slow_server() -> object:
        starts.append(threading.get_ident())
        time.sleep(0.2)
        return object()

    monkeypatch.setattr(fork_server, "_server", slow_server)
    servers = await asyncio.gather(*(asyncio.to_thread(fork_server._shared_server) for _ in range(4)))
    assert (len(starts), len(set(servers))) == (1, 1)
