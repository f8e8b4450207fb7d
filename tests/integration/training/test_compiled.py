"""What torch compiles on this machine: layers of the model, and the step of the 8-bit optimiser."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.tiny_model import REPOSITORY

COMPARED = """
import sys, torch
from tests.unit.unlearning.run import plain_training, run, tiny_model
torch.set_num_threads(1)
def trained(**changes):
    training = plain_training(epochs=2, records_per_step=3, **changes)
    model, _ = run("gradient_ascent", model=tiny_model(dtype=torch.float32), training=training)
    return torch.cat([weight.flatten() for weight in model.parameters()])
plain, start = trained(), torch.cat([weight.flatten() for weight in tiny_model(dtype=torch.float32).parameters()])
for checkpointing in (False, True):
    found = trained(compile=True, checkpointing=checkpointing)
    assert (found - plain).abs().max() < 1e-4 * (plain - start).abs().max(), (found - plain).abs().max()
"""

EIGHT_BIT = """
import torch
from torch import nn
from core.unlearning import optimizer
from tests.unit.unlearning.run import plain_training
torch.set_num_threads(1)
def trained(kind, dtype):
    weight = nn.Parameter(torch.randn(64, 128, generator=torch.Generator().manual_seed(0)).to(dtype))
    made = optimizer.make([weight], plain_training(optimizer=kind, learning_rate=1e-3))
    torch.manual_seed(1)
    for step in range(4):
        optimizer.set_rate(made, 1e-3 / (step + 1))
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)).to(dtype)
        made.step()
    state = made.state[weight]["exp_avg"]
    return weight.detach().float(), type(state).__name__
exact, _ = trained("adamw", torch.float32)
found, state = trained("adamw8bit", torch.float32)
assert state == "OptimState8bit", state
assert (found - exact).abs().mean() < 2e-4, (found - exact).abs().mean()
half, _ = trained("adamw8bit", torch.bfloat16)
assert abs(float((half - exact).mean())) < 1e-4
"""


UNAVAILABLE = """
import sys
from unittest import mock
from core.lm.errors import CoreError
from tests.unit.unlearning.run import plain_training, run
sys.modules["torchao"] = sys.modules["torchao.optim"] = mock.Mock()
for changes in ({"compile": True}, {"optimizer": "adamw8bit"}):
    events = []
    try:
        run("gradient_ascent", training=plain_training(**changes), events=events)
    except CoreError as error:
        assert events == []
        print(error)
"""


def ran(code: str, cache: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is compiled stays loaded for ever."""
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(cache)} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def skip_without_compiler(done: subprocess.CompletedProcess[str]) -> None:
    if "C++ compiler" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])


def test_compiled_layers_train_to_the_same_weights_also_where_activations_are_recomputed(tmp_path: Path) -> None:
    done = ran(COMPARED, tmp_path)
    skip_without_compiler(done)
    assert done.returncode == 0, done.stderr[-3000:]


def test_moments_in_eight_bits_lead_nearly_where_exact_ones_do(tmp_path: Path) -> None:
    if find_spec("torchao") is None:
        pytest.skip("torchao is not installed: the extra [gpu] brings it")
    done = ran(EIGHT_BIT, tmp_path)
    skip_without_compiler(done)
    assert done.returncode == 0, done.stderr[-3000:]


def test_without_a_compiler_the_job_is_told_so_before_it_trains(tmp_path: Path) -> None:
    done = ran(UNAVAILABLE, tmp_path, PATH="/nowhere", CXX="/nowhere/c++", CC="/nowhere/cc")
    assert done.returncode == 0, done.stderr[-3000:]
    compiled, eight_bit = done.stdout.splitlines()
    assert compiled.startswith("compile_unavailable: training.compile needs a C++ compiler")
    assert eight_bit.startswith("optimizer_unavailable: adamw8bit needs a C++ compiler")
