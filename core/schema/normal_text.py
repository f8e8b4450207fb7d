"""The normal form of a text, in which texts that copying made different are equal."""

import re
import unicodedata
from collections.abc import Iterable

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
"""Unicode's Default_Ignorable_Code_Point, code points without a character included. Python's `unicodedata` lacks it."""


def normal_text(texts: Iterable[str]) -> str:
    """Returns the texts as one: case-folded, with one space for all spaces and line ends, without invisible characters.

    Composed and decomposed characters, ligatures, full-width letters and raised digits are equal to their plain forms
    (Unicode 3.13, R5: NFKC_Casefold). Stored digests rest on it: another form would find none of them.
    """
    text = " ".join(texts)
    if text.isascii():
        return " ".join(text.casefold().split())
    # invisible characters first: between a letter and its mark they would keep the two from being composed
    visible = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    # decomposed before it is folded: some marks fold otherwise on a composed letter
    decomposed = unicodedata.normalize("NFD", visible)
    return " ".join(unicodedata.normalize("NFKC", decomposed.casefold()).split())
