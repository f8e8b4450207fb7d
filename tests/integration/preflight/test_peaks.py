"""What was expected, beside what a real child process had in memory; `python -m benchmarks.preflight` tries more."""

from pathlib import Path

import pytest

from benchmarks.generated_page import replace_section
from benchmarks.preflight import MARK, UPPER, Case, compare_peaks
from benchmarks.random_models import SHAPES

CASES = {
    "all weights": Case(SHAPES["19M, 32k"], "ascent_kl", records=6, others=8, words=20),
    "an adapter": Case(SHAPES["4M, 2k"], "gradient_ascent", records=6, others=8, training={"lora": {"rank": 8}}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_expected_bounds_what_is_measured_and_not_by_far(name: str) -> None:
    found = compare_peaks(name, CASES[name])
    assert 1 <= found.ratio <= UPPER, found


def test_a_table_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n<!-- preflight -->\nold\n<!-- /preflight -->\nrest\n")
    replace_section(page, MARK, "new")
    assert page.read_text() == "# Page\n<!-- preflight -->\nnew\n<!-- /preflight -->\nrest\n"
