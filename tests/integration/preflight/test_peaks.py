"""Compares estimated memory with that of real child processes; `python -m benchmarks.preflight` tries more cases."""

from pathlib import Path

import pytest

from benchmarks.generated_page import replace_section
from benchmarks.preflight import MARK, UPPER, Case, compare_peaks
from benchmarks.random_models import SHAPES

CASES = {
    "all weights": Case(SHAPES["19M, 32k"], "ascent_kl", records=6, retain_records=8, words=20),
    "an adapter": Case(
        SHAPES["4M, 2k"], "gradient_ascent", records=6, retain_records=8, training={"lora": {"rank": 8}}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_estimated_peak_is_a_close_upper_bound_of_the_measured_one(name: str) -> None:
    peak = compare_peaks(name, CASES[name])
    assert 1 <= peak.ratio <= UPPER, peak


def test_a_new_table_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n<!-- preflight -->\nold\n<!-- /preflight -->\nrest\n")
    replace_section(page, MARK, "new")
    assert page.read_text() == "# Page\n<!-- preflight -->\nnew\n<!-- /preflight -->\nrest\n"
