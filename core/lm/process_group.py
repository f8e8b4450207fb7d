"""The processes that share a job, one per device: this process's rank, and what the ranks exchange."""

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
"""How long a rank waits for another, which may be measuring. A dead rank is noticed by the process that started it."""


class Ranks:
    """Rank `rank` (from 0) of `count`. Every rank calls the collective methods, in the same order."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        """Makes a single rank; several ranks `join`."""
        self.rank, self.count = rank, count

    @classmethod
    def join(cls, rank: int, count: int, meeting: Path) -> "Ranks":
        """Joins the other ranks by way of `meeting`, a file in a private directory that the first rank creates.

        From then on this process's device is that of its rank.
        """
        # all ranks are on this host: nothing needs to listen on an address that others reach
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
        """Ends the process group; the last collective call."""
        if self.count > 1:
            dist.destroy_process_group()

    def local_items(self, items: Sequence[T]) -> Sequence[T]:
        """Returns this rank's share of items that are the same in every rank: every count-th."""
        return items[self.rank :: self.count]

    def gather_items(self, own: list[T]) -> list[T]:
        """Returns the results that all ranks have for their `local_items`, in the items' order, in every rank."""
        shares = self.all_gather(own)
        longest = max(len(share) for share in shares)
        return [share[place] for place in range(longest) for share in shares if place < len(share)]

    def broadcast(self, value: T | None) -> T:
        """Returns rank 0's value, which must be picklable, in every rank."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return cast(T, values[0])

    def broadcast_flag(self, flag: bool) -> bool:
        """Returns rank 0's flag in every rank."""
        tensor = torch.tensor([flag])
        if self.count > 1:
            dist.broadcast(tensor, src=0)
        return bool(tensor)

    def all_reduce(self, values: Tensor) -> Tensor:
        """Replaces each rank's values by their sum over the ranks."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def barrier(self) -> None:
        """Waits until every rank has called it."""
        self.all_reduce(torch.zeros(1))

    def all_gather(self, value: T) -> list[T]:
        """Returns each rank's value, which must be picklable, in every rank."""
        values = [value] * self.count
        if self.count > 1:
            dist.all_gather_object(values, value)
        return values


SINGLE_RANK = Ranks()


def require_ranks(count: int) -> None:
    """Raises CoreError `ranks_unavailable` or `too_few_gpus` where `count` processes cannot share a job here."""
    if count > 1 and (not sys.platform.startswith("linux") or not dist.is_available()):
        raise CoreError("ranks_unavailable", "several processes can share a job on Linux only", blame="service")
    if torch.cuda.is_available() and torch.cuda.device_count() < count:
        message = f"{count} processes are to share the job, one GPU each, and {torch.cuda.device_count()} can be seen"
        raise CoreError("too_few_gpus", message, blame="service")
