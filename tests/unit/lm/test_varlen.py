"""Attention by one kernel call for all records of a row: the kernel itself on a GPU, a stand-in for it on a CPU."""

import pytest
import torch
from torch import nn
from torch.nn import attention as torch_attention
from torch.nn.functional import scaled_dot_product_attention

from core.lm import varlen
from core.lm.attention import PackedRecords, within_records

LENGTHS = (4, 9, 1, 9, 6)


def random_states(dtype=torch.float32, device="cpu", heads=6, key_heads=2, head_size=16):
    generator = torch.Generator().manual_seed(1)
    shapes = [(1, count, sum(LENGTHS), head_size) for count in (heads, key_heads, key_heads)]
    return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]


def documented_kernel(query, key, value, offsets, key_offsets, longest, longest_key, *, scale, window_size):
    """Computes what the kernel's documentation says that it computes."""
    assert offsets.equal(key_offsets)
    assert offsets.dtype == torch.int32
    assert (longest, longest_key, window_size) == (int(offsets.diff().max()), longest, (-1, 0))
    assert query.shape[1] == key.shape[1] == value.shape[1]
    attended = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        q, k, v = (states[begin:end].transpose(0, 1) for states in (query, key, value))
        attended.append(scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale).transpose(0, 1))
    return torch.cat(attended)


@pytest.fixture
def replace_kernel(monkeypatch):
    """Puts a function in the kernel's place; at first the documented kernel."""

    def replace(kernel):
        monkeypatch.setattr(torch_attention.varlen, "varlen_attn", kernel)
        varlen._matches_plain_attention.cache_clear()

    import torch.nn.attention.varlen  # noqa: F401

    replace(documented_kernel)
    yield replace
    varlen._matches_plain_attention.cache_clear()


@pytest.mark.parametrize("scaling", [None, 0.3])
def test_the_kernel_gives_what_one_call_for_each_record_gives(replace_kernel, monkeypatch, scaling):
    query, key, value = random_states()
    records = PackedRecords(LENGTHS)
    expected, _ = within_records(nn.Module(), query, key, value, None, packed_records=records, scaling=scaling)
    monkeypatch.setattr(varlen, "supports", lambda *states: True)
    attended, _ = within_records(nn.Module(), query, key, value, None, packed_records=records, scaling=scaling)
    assert attended.shape == expected.shape
    torch.testing.assert_close(attended, expected)


def test_records_of_one_length_and_windows_that_cut_records_do_without_the_kernel(monkeypatch):
    monkeypatch.setattr(varlen, "supports", lambda *states: pytest.fail("the kernel was considered"))
    query, key, value = random_states()
    within_records(nn.Module(), query, key, value, None, packed_records=PackedRecords(LENGTHS), sliding_window=4)
    single_record = PackedRecords((sum(LENGTHS),))
    within_records(nn.Module(), query, key, value, None, packed_records=single_record)


def test_the_kernel_does_not_support_the_cpu():
    assert not varlen.supports(*random_states(torch.bfloat16))


def test_a_kernel_that_computes_something_else_or_raises_is_not_used(replace_kernel):
    def matches():
        return varlen._matches_plain_attention(torch.device("cpu"), torch.float32, 6, 2, 16)

    def raising_kernel(*_, **__):
        raise RuntimeError("no kernel image is available for execution on the device")

    def unscaled_kernel(*inputs, scale, **options):
        return documented_kernel(*inputs, scale=None, **options)

    assert matches()
    replace_kernel(unscaled_kernel)
    assert not matches()
    replace_kernel(raising_kernel)
    assert not matches()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernel needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_on_a_gpu_the_kernel_gives_what_one_call_for_each_record_gives(monkeypatch, dtype):
    records, results = PackedRecords(LENGTHS), []
    with torch.autocast("cuda", torch.bfloat16):
        assert varlen.supports(*random_states(dtype, "cuda"))
        for supported in (True, False):
            monkeypatch.setattr(varlen, "supports", lambda *states, supported=supported: supported)
            inputs = [states.requires_grad_() for states in random_states(dtype, "cuda")]
            output, _ = within_records(nn.Module(), *inputs, None, packed_records=records)
            output.float().square().sum().backward()
            results.append([output.float(), *(states.grad.float() for states in inputs)])
    for tensor, expected in zip(*results, strict=True):
        assert (tensor - expected).abs().max() <= 0.02 * expected.abs().max()
