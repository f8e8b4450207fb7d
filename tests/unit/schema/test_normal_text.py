"""The normal form of texts, on which stored digests rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.schema.normal_text import normal_text


@pytest.mark.parametrize(
    ("texts", "normal"),
    [
        (["  One\tline\r\n"], "one line"),
        (["one", "line"], "one line"),
        (["e\u0301t\u00e9"], "\u00e9t\u00e9"),
        (["\ufb01ne STRASSE stra\u00dfe"], "fine strasse strasse"),
        (["a\u200bb\u00adc\ufeff"], "abc"),
        (["\u2764\ufe0f a\U000e0100b\U000e0001 e\u034f\u0301"], "\u2764 ab \u00e9"),
        (["a\u115fb\u1160c\u3164d\uffa0e\u17b4f\u17b5g"], "abcdefg"),
        (["a\u180bb\u180cc\u180dd\u180ee\u180ff \u3164 g"], "abcdef g"),
        (["10\u2075 \u2460"], "105 1"),
        (["\uff21\uff11"], "a1"),
        (["a+b a-b"], "a+b a-b"),
    ],
)
def test_texts_that_copying_made_different_have_one_form(texts: list[str], normal: str) -> None:
    assert normal_text(texts) == normal


ANY_TEXT = st.text() | st.text(
    st.sampled_from("aA\u00e9e\u0301\u0345\u0391\u034f\u1100\u1160\u1161\u3164\uffa0\ufe0f\u2075 \t")
)


@given(ANY_TEXT)
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    assert normal_text([normal_text([text])]) == normal_text([text])
