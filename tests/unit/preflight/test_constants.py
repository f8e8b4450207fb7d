"""Numbers that preflight counts with are those that jobs run by: they are one constant, or compared here."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.evaluation.measurements.exposure import Exposure
from core.lm import chunked_head, flops, precision
from core.pipeline import job_progress
from core.preflight import memory, processor, unlearn_workload, workload
from core.preflight.flops import BACKWARD
from core.unlearning import bfloat16_optimizers, rehearsal
from core.unlearning.optimizer_sizes import EIGHT_BIT_BLOCK


def test_sizes_of_slices_and_samples_are_those_that_are_computed_with() -> None:
    assert memory.LOGITS_PER_SLICE == chunked_head.LOGITS_PER_SLICE == 7 << 20
    assert memory.WEIGHTS_PER_SLICE == bfloat16_optimizers.WEIGHTS_PER_SLICE == 1 << 24
    assert unlearn_workload.rehearsal_length is rehearsal.rehearsal_length


def test_a_record_is_counted_with_its_twins() -> None:
    assert workload._TWINS == Exposure().twins + 1 == 100


def test_an_update_is_counted_as_the_flops_of_a_running_job_are() -> None:
    model = flops.ModelFlops(weights=1000, head=100, width=0)
    assert model.update(7, 49) == BACKWARD * model.forward(7, 49)
    assert job_progress.BACKWARD == BACKWARD


def test_weights_in_memory_take_the_bytes_that_torch_gives_them() -> None:
    for name, size in workload.DTYPE_BYTES.items():
        assert getattr(torch, name).itemsize == size


def test_this_processor_is_known_as_torch_knows_it() -> None:
    if Path("/proc/cpuinfo").is_file():
        assert processor.has_fast_bfloat16() == precision.quick_bfloat16(torch.device("cpu"))


def test_moments_in_eight_bits_share_a_scale_in_blocks_as_torchao_has_them() -> None:
    optim = pytest.importorskip("torchao.optim")
    assert optim.AdamW8bit([torch.nn.Parameter(torch.zeros(1))]).block_size == EIGHT_BIT_BLOCK


def test_the_child_process_limits_the_compiled_products_that_are_counted() -> None:
    code = (
        "import os; os.environ.pop('ONEDNN_PRIMITIVE_CACHE_CAPACITY', None); import core.pipeline.__main__;"
        " print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == memory.ONEDNN_PRIMITIVES


def test_an_estimate_is_made_without_torch() -> None:
    modules = ("estimate", "capacity", "duration", "messages", "processor")
    imports = "; ".join(f"import core.preflight.{name}" for name in modules)
    code = f"import sys; {imports}; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
