import pytest
import torch

from core.lm import process_group
from core.lm.errors import CoreError
from core.lm.process_group import ALONE


def test_more_ranks_than_gpus_are_refused_and_on_the_cpu_there_may_be_any_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    process_group.check(3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    process_group.check(2)
    with pytest.raises(CoreError, match="too_few_gpus") as caught:
        process_group.check(3)
    assert "3 processes" in caught.value.message
    assert "2 can be seen" in caught.value.message


def test_ranks_meet_on_linux_only(monkeypatch):
    monkeypatch.setattr(process_group.sys, "platform", "darwin")
    process_group.check(1)
    with pytest.raises(CoreError, match="ranks_unavailable"):
        process_group.check(2)


def test_who_is_alone_does_everything_and_wishes_for_itself():
    assert ALONE.own([1, 2, 3]) == [1, 2, 3]
    assert ALONE.joined([4, 5]) == [4, 5]
    assert ALONE.share("thing") == "thing"
    assert ALONE.agree(True) is True
    assert ALONE.agree(False) is False
    assert ALONE.sum(torch.ones(2)).tolist() == [1, 1]
    assert ALONE.gathered({6}) == [{6}]
