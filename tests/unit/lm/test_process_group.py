import pytest
import torch

from core.lm import process_group
from core.lm.errors import CoreError
from core.lm.process_group import SINGLE_RANK


def test_more_ranks_than_gpus_are_refused_and_on_the_cpu_there_may_be_any_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    process_group.require_ranks(3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    process_group.require_ranks(2)
    with pytest.raises(CoreError, match="too_few_gpus") as caught:
        process_group.require_ranks(3)
    assert "3 processes" in caught.value.message
    assert "2 can be seen" in caught.value.message


def test_several_ranks_need_linux(monkeypatch):
    monkeypatch.setattr(process_group.sys, "platform", "darwin")
    process_group.require_ranks(1)
    with pytest.raises(CoreError, match="ranks_unavailable"):
        process_group.require_ranks(2)


def test_a_single_rank_has_all_items_and_its_own_values():
    assert SINGLE_RANK.local_items([1, 2, 3]) == [1, 2, 3]
    assert SINGLE_RANK.gather_items([4, 5]) == [4, 5]
    assert SINGLE_RANK.broadcast("value") == "value"
    assert SINGLE_RANK.broadcast_flag(True) is True
    assert SINGLE_RANK.broadcast_flag(False) is False
    assert SINGLE_RANK.all_reduce(torch.ones(2)).tolist() == [1, 1]
    assert SINGLE_RANK.all_gather({6}) == [{6}]
