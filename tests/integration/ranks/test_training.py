"""Two ranks train to the weights of one process: gloo on the CPU, all cases in one launch."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from core.lm.process_group import SINGLE_RANK
from tests.integration.ranks.cases import CASES, RESUMED, outcome
from tests.tiny_model import REPOSITORY
from tests.unit.lm.tiny import VOCABULARY

RANKS = 2


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outcome of every case on two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.integration.ranks.cases"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(RANKS), str(folder / "meeting"), str(folder / "out")],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * RANKS, "\n".join(errors)
    outcomes: dict[str, Any] = torch.load(folder / "out")
    return outcomes


@pytest.mark.parametrize("name", list(CASES))
def test_two_ranks_end_with_the_weights_of_one_process(two_ranks: dict[str, Any], name: str) -> None:
    case = CASES[name]
    expected, actual = outcome(case, SINGLE_RANK), two_ranks[name]
    tolerance = 1e-5 if case.dtype == torch.float32 else 1e-9
    assert len(expected["losses"]) == 2
    for expected_loss, loss in zip(expected["losses"], actual["losses"], strict=True):
        assert loss == pytest.approx(expected_loss, rel=tolerance, abs=tolerance)
    for expected_weight, weight in zip(expected["weights"], actual["weights"], strict=True):
        torch.testing.assert_close(weight, expected_weight, rtol=tolerance, atol=tolerance)
    assert expected["counts"] == actual["counts"]
    # sums in another order: a weight whose update is about its last bit may change or not
    assert actual["changed"] == pytest.approx(expected["changed"], abs=1e-3)
    assert actual["tied"] is case.tied
    assert actual["local_share"] == pytest.approx(1 / RANKS, abs=0.02)


@pytest.mark.parametrize("name", RESUMED)
def test_two_interrupted_ranks_end_with_the_weights_of_undisturbed_ranks(two_ranks: dict[str, Any], name: str) -> None:
    undisturbed, resumed = two_ranks[name], two_ranks[f"{name}, resumed"]
    for weight, resumed_weight in zip(undisturbed["weights"], resumed["weights"], strict=True):
        assert weight.equal(resumed_weight)
    assert undisturbed["counts"] == resumed["counts"]
    assert undisturbed["changed"] == resumed["changed"]
    assert undisturbed["losses"][1:] == resumed["losses"]


def test_rank_0_alone_stops_all_ranks(two_ranks: dict[str, Any]) -> None:
    assert two_ranks["stopped"] == RANKS


def test_an_update_shows_in_the_next_forward_without_gradients(two_ranks: dict[str, Any]) -> None:
    assert two_ranks["head_growth"] == pytest.approx(VOCABULARY * 16)
