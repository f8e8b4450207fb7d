"""Finds the words of a text, and lists English words that identify nobody although they are often capitalised."""

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
_COMMON_ENGLISH = """
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
"""Lower-case words that may stand between the words of a name."""
COMMON_ENGLISH = frozenset(_COMMON_ENGLISH.split())
"""English words that begin sentences, stand on forms, or belong to every address."""


def find_words(text: str, excluded: Sequence[tuple[int, int]] = ()) -> Iterator[re.Match[str]]:
    """Finds the words of a text that do not overlap the excluded (start, end) spans."""
    for match in _WORD.finditer(text):
        if not any(match.start() < end and start < match.end() for start, end in excluded):
            yield match


def plain_words(text: str) -> list[str]:
    """The words of a text outside e-mail addresses and URLs, without the possessive `'s`."""
    addresses = [match.span() for pattern in (EMAIL, URL) for match in pattern.finditer(text)]
    return [strip_possessive(match[0]) for match in find_words(text, addresses)]


def strip_possessive(word: str) -> str:
    return re.sub(r"['’]s$", "", word)
