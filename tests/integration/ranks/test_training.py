"""Two ranks train like one process: gloo on the CPU, all cases in one launch."""

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
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two ranks made of every case."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.integration.ranks.cases"]
    started = [
        subprocess.Popen(
            [*command, str(rank), str(RANKS), str(folder / "meeting"), str(folder / "out")],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        said = [one.communicate(timeout=120)[1] for one in started]
    finally:
        for one in started:
            one.kill()
    assert [one.returncode for one in started] == [0] * RANKS, "\n".join(said)
    found: dict[str, Any] = torch.load(folder / "out")
    return found


@pytest.mark.parametrize("name", list(CASES))
def test_two_ranks_end_where_one_process_does(together: dict[str, Any], name: str) -> None:
    case = CASES[name]
    one, two = outcome(case, SINGLE_RANK), together[name]
    close = 1e-5 if case.dtype == torch.float32 else 1e-9
    assert len(one["losses"]) == 2
    for alone, shared in zip(one["losses"], two["losses"], strict=True):
        assert shared == pytest.approx(alone, rel=close, abs=close)
    for alone, shared in zip(one["weights"], two["weights"], strict=True):
        torch.testing.assert_close(shared, alone, rtol=close, atol=close)
    assert one["counts"] == two["counts"]
    # in another order of the sums a weight whose update is about its last bit may change, or not
    assert two["changed"] == pytest.approx(one["changed"], abs=1e-3)
    assert two["tied"] is case.tied
    assert two["held"] == pytest.approx(1 / RANKS, abs=0.02)


@pytest.mark.parametrize("name", RESUMED)
def test_two_ranks_that_were_interrupted_end_where_they_would_have(together: dict[str, Any], name: str) -> None:
    undisturbed, resumed = together[name], together[f"{name}, resumed"]
    for one, other in zip(undisturbed["weights"], resumed["weights"], strict=True):
        assert one.equal(other)
    assert undisturbed["counts"] == resumed["counts"]
    assert undisturbed["changed"] == resumed["changed"]
    assert undisturbed["losses"][1:] == resumed["losses"]


def test_what_rank_0_wishes_stops_all(together: dict[str, Any]) -> None:
    assert together["stopped"] == RANKS


def test_an_update_shows_in_the_next_forward_without_gradients(together: dict[str, Any]) -> None:
    assert together["seen"] == pytest.approx(VOCABULARY * 16)
