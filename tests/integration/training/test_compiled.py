"""Compilation on this machine: layers of the model, and the step of the 8-bit optimiser."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.tiny_model import REPOSITORY

COMPILED_LAYERS = """
import sys, torch
from tests.unit.unlearning.run import plain_training, run, tiny_model
torch.set_num_threads(1)
def trained(**changes):
    training = plain_training(epochs=2, records_per_step=3, **changes)
    model, _ = run("gradient_ascent", model=tiny_model(dtype=torch.float32), training=training)
    return torch.cat([weight.flatten() for weight in model.parameters()])
plain, start = trained(), torch.cat([weight.flatten() for weight in tiny_model(dtype=torch.float32).parameters()])
for checkpointing in (False, True):
    compiled = trained(compile=True, checkpointing=checkpointing)
    assert (compiled - plain).abs().max() < 1e-4 * (plain - start).abs().max(), (compiled - plain).abs().max()
"""

EIGHT_BIT = """
import torch
from torch import nn
from core.unlearning import optimizer
from tests.unit.unlearning.run import plain_training
torch.set_num_threads(1)
def trained(kind, dtype):
    weight = nn.Parameter(torch.randn(64, 128, generator=torch.Generator().manual_seed(0)).to(dtype))
    adam = optimizer.make_optimizer([weight], plain_training(optimizer=kind, learning_rate=1e-3))
    torch.manual_seed(1)
    for step in range(4):
        optimizer.set_learning_rate(adam, 1e-3 / (step + 1))
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)).to(dtype)
        adam.step()
    state = adam.state[weight]["exp_avg"]
    return weight.detach().float(), type(state).__name__
exact, _ = trained("adamw", torch.float32)
eight_bit, state = trained("adamw8bit", torch.float32)
assert state == "OptimState8bit", state
assert (eight_bit - exact).abs().mean() < 2e-4, (eight_bit - exact).abs().mean()
bfloat16, _ = trained("adamw8bit", torch.bfloat16)
assert abs(float((bfloat16 - exact).mean())) < 1e-4
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


def run_code(code: str, cache: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the code in a process of its own, since compiled code stays loaded."""
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(cache)} | variables
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def skip_without_compiler(finished: subprocess.CompletedProcess[str]) -> None:
    if "C++ compiler" in finished.stderr:
        pytest.skip(finished.stderr.strip().splitlines()[-1])


def test_compiled_layers_train_to_the_same_weights_also_where_activations_are_recomputed(tmp_path: Path) -> None:
    finished = run_code(COMPILED_LAYERS, tmp_path)
    skip_without_compiler(finished)
    assert finished.returncode == 0, finished.stderr[-3000:]


def test_moments_in_eight_bits_give_nearly_the_same_weights_as_exact_moments(tmp_path: Path) -> None:
    if find_spec("torchao") is None:
        pytest.skip("torchao is not installed: the extra [gpu] brings it")
    finished = run_code(EIGHT_BIT, tmp_path)
    skip_without_compiler(finished)
    assert finished.returncode == 0, finished.stderr[-3000:]


def test_without_a_compiler_the_job_fails_before_it_trains(tmp_path: Path) -> None:
    finished = run_code(UNAVAILABLE, tmp_path, PATH="/nowhere", CXX="/nowhere/c++", CC="/nowhere/cc")
    assert finished.returncode == 0, finished.stderr[-3000:]
    compiled, eight_bit = finished.stdout.splitlines()
    assert compiled.startswith("compile_unavailable: training.compile needs a C++ compiler")
    assert eight_bit.startswith("optimizer_unavailable: adamw8bit needs a C++ compiler")
