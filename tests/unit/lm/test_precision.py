import torch

from core.lm import precision
from core.lm.precision import training_precision

CPU = torch.device("cpu")


def test_a_precision_that_is_asked_for_is_given(monkeypatch):
    for quick in (True, False):
        monkeypatch.setattr(precision, "quick_bfloat16", lambda device, quick=quick: quick)
        assert training_precision("float32", CPU) is None
        assert training_precision("bfloat16", CPU) is torch.bfloat16


def test_left_open_it_is_bfloat16_only_where_that_is_quick(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert training_precision("auto", CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert training_precision("auto", CPU) is None
