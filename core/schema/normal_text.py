"""The normal form of a text, in which texts that copying made different are equal."""

import unicodedata
from collections.abc import Iterable


def normal_text(texts: Iterable[str]) -> str:
    """Returns the texts as one: case-folded, with one space for all spaces and line ends, without invisible characters.

    Composed and decomposed characters, ligatures and full-width letters are equal to their plain forms (Unicode NFKC).
    Stored digests rest on it: another form would find none of them.
    """
    text = " ".join(texts)
    if text.isascii():
        return " ".join(text.casefold().split())
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf")
    # decomposed before it is folded, as by Unicode's NFKC_Casefold: some marks fold otherwise on a composed letter
    decomposed = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", visible))
    return " ".join(unicodedata.normalize("NFKC", decomposed.casefold()).split())
