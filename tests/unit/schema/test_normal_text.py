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
        (["\uff21\uff11"], "a1"),
        (["a+b a-b"], "a+b a-b"),
    ],
)
def test_texts_that_copying_made_different_have_one_form(texts: list[str], normal: str) -> None:
    assert normal_text(texts) == normal


@given(st.text())
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    assert normal_text([normal_text([text])]) == normal_text([text])
