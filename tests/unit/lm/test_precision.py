import torch

from core.lm import precision
from core.lm.precision import training_precision

CPU = torch.device("cpu")


def test_a_requested_precision_is_used(monkeypatch):
    for quick in (True, False):
        monkeypatch.setattr(precision, "quick_bfloat16", lambda device, quick=quick: quick)
        assert training_precision("float32", torch.float32, CPU) is None
        assert training_precision("bfloat16", torch.float32, CPU) is torch.bfloat16


def test_the_automatic_precision_is_bfloat16_only_where_that_is_quick(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert training_precision("auto", torch.float32, CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert training_precision("auto", torch.float32, CPU) is None


def test_weights_that_are_held_in_bfloat16_are_multiplied_in_it():
    assert training_precision("float32", torch.bfloat16, CPU) is torch.bfloat16
    assert training_precision("auto", torch.bfloat16, CPU) is torch.bfloat16
