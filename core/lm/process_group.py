"""The processes that share a job, one per device: which of them this is, and what they tell each other."""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist

from core.lm.errors import CoreError

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long one waits for another, which may be measuring; who is dead is found out by the one that started it."""


class Ranks:
    """`rank` (from 0) of `count`. Whatever they do together, all must call, in the same order."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        """One that was not `join`ed is alone."""
        self.rank, self.count = rank, count

    @classmethod
    def join(cls, rank: int, count: int, meeting: Path) -> "Ranks":
        """Meets the others at `meeting`, a file in a private directory that does not exist before the first comes.

        From then on this process's device is the one of its rank.
        """
        # all are on this host: nothing needs to listen where others could reach it
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(rank)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(
            backend, init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=_PATIENCE
        )
        return cls(rank, count)

    def leave(self) -> None:
        """The last thing that they do together."""
        if self.count > 1:
            dist.destroy_process_group()

    def local_items(self, items: Sequence[T]) -> Sequence[T]:
        """Every count-th of the items, which are the same in every rank."""
        return items[self.rank :: self.count]

    def gather_items(self, own: list[T]) -> list[T]:
        """What all ranks have made of their `own` items, in the items' order, in every rank."""
        lists = self.all_gather(own)
        longest = max(len(one) for one in lists)
        return [one[place] for place in range(longest) for one in lists if place < len(one)]

    def broadcast(self, thing: T | None) -> T:
        """Rank 0's thing, in every rank; it must be picklable."""
        things = [thing]
        if self.count > 1:
            dist.broadcast_object_list(things, src=0, device=torch.device("cpu"))
        return cast(T, things[0])

    def broadcast_flag(self, wish: bool) -> bool:
        """What rank 0 wishes."""
        flag = torch.tensor([wish])
        if self.count > 1:
            dist.broadcast(flag, src=0)
        return bool(flag)

    def all_reduce(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place of each one's values."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Waits until all have come so far."""
        self.all_reduce(torch.zeros(1))

    def all_gather(self, thing: T) -> list[T]:
        """What each rank has of a thing, which must be picklable, in every rank."""
        things = [thing] * self.count
        if self.count > 1:
            dist.all_gather_object(things, thing)
        return things


SINGLE_RANK = Ranks()


def require_ranks(count: int) -> None:
    """Raises CoreError `ranks_unavailable` or `too_few_gpus` where so many processes cannot share a job here."""
    if count > 1 and (not sys.platform.startswith("linux") or not dist.is_available()):
        raise CoreError("ranks_unavailable", "several processes can share a job on Linux only", blame="service")
    if torch.cuda.is_available() and torch.cuda.device_count() < count:
        message = f"{count} processes are to share the job, one GPU each, and {torch.cuda.device_count()} can be seen"
        raise CoreError("too_few_gpus", message, blame="service")
