"""Warnings in plain words."""

import re
from pathlib import Path

from core.report.warning_words import WARNINGS, warning_words

REPOSITORY = Path(__file__).parents[3]


def test_every_warning_of_a_job_has_plain_words() -> None:
    sources = [
        file.read_text()
        for folder in ("pipeline", "lm", "unlearning")
        for file in (REPOSITORY / "core" / folder).rglob("*.py")
    ]
    codes = {code for source in sources for code in re.findall(r'Warned\(\s*code="([a-z_]+)"', source)}
    assert len(codes) > 10
    assert codes - WARNINGS.keys() == set()


def test_the_programs_own_words_stand_behind_the_plain_ones() -> None:
    assert (
        warning_words("small_sample", "12 records") == f"{WARNINGS['small_sample']} In the program's words: 12 records."
    )
    assert warning_words("of_another_version", "something is odd") == "Something is odd."
