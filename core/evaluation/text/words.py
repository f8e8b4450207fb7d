"""Words: where they are in a text, and some that say nothing of anybody although they often have a capital."""

import re
from collections.abc import Iterator, Sequence

LETTER = r"[^\W\d_]"
_MARKED = rf"(?:{LETTER}|[\u0300-\u036f])"
_WORD = re.compile(rf"(?<![\w\u0300-\u036f]){LETTER}{_MARKED}*(?:[-'’]{LETTER}{_MARKED}*)*(?![\w\u0300-\u036f])")
EMAIL = re.compile(r"[\w.+-]*\w@\w[\w-]*(?:\.\w[\w-]*)+")
URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'()]*[^\s<>\"'().,;:!?]", re.IGNORECASE)

_PARTICLES = """
    van von der den de del della di da do dos du la le el al bin ibn ten ter zu of
"""
_ORDINARY = """
    a about account address after all also although an and are as at ave avenue be because been before between
    birth birthday blvd born boulevard but by can case close contact could court customer date days dear did
    do does dr drive during e-mail each email employee every fax file finally first following for friday from
    had has have he her here hill his how however i id if in inc into is it its lane last later lives ltd mail
    may member miss mobile monday more most mr mrs ms my name near new next no not number of on once one only
    or order other our patient phone place please prof rd record reference regards road row saturday second
    see she since so some square st street sunday tel telephone than that the their them then there these they
    this those three thursday to tuesday two under university until was way we wednesday were what when where
    which while who why will with without would year years yes you your
"""
PARTICLES = frozenset(_PARTICLES.split())
"""In lower case between the words of a name."""
ORDINARY = frozenset(_ORDINARY.split())
"""English words that begin sentences, stand on forms, or belong to every address."""


def words(text: str, taken: Sequence[tuple[int, int]]) -> Iterator[re.Match[str]]:
    """The words of a text outside of the taken spans."""
    for match in _WORD.finditer(text):
        if not any(match.start() < end and start < match.end() for start, end in taken):
            yield match


def plain_words(text: str) -> list[str]:
    """The words of a text outside of addresses and identifiers, without a possessive's end."""
    taken = [match.span() for pattern in (EMAIL, URL) for match in pattern.finditer(text)]
    return [bare(match[0]) for match in words(text, taken)]


def bare(word: str) -> str:
    """Without a possessive's end."""
    return re.sub(r"['’]s$", "", word)
