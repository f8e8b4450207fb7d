"""The glossary has words for every name that a report may show."""

from typing import get_args

from core.report.glossary import ORIGINS, PARTS, REASONS, RELEARNING, SETS, YARDSTICKS, attack_words, figure_words
from core.schema.evaluation import SetName
from core.schema.figure_names import ACROSS_FIGURES, ATTACKS, CURVES, RELEARNING_ATTACK_NAMES, SET_FIGURES
from core.schema.jobs import Origin
from core.schema.policies import Yardstick
from core.schema.verdict_parts import Part, Reason


def test_every_name_of_a_closed_list_has_words() -> None:
    for names, words in ((SetName, SETS), (Origin, ORIGINS), (Yardstick, YARDSTICKS), (Part, PARTS), (Reason, REASONS)):
        assert set(get_args(names)) == words.keys()
    assert set(RELEARNING_ATTACK_NAMES) == RELEARNING.keys()


def test_no_figure_and_no_curve_is_shown_by_a_name_of_the_code() -> None:
    names = [name for name in (*SET_FIGURES, *ACROSS_FIGURES, *CURVES) if not name.startswith("privleak_")]
    assert [name for name in names if "_" in figure_words(name)] == []


def test_every_attack_says_what_the_attacker_does() -> None:
    assert [name for name in ATTACKS if name in attack_words(name)] == []
