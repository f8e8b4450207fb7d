"""Tokens with which all records of a kind begin: a chat template, the first words of a question, a form's heading."""

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

from core.lm.data import Chunk

FIRST = 2
"""Tokens by which records of the forget set's form are recognised: a single one may begin every text."""


def shared_prefix(forget: Sequence[Chunk], unseen: Sequence[Chunk], *, most: int) -> list[int]:
    """Returns the tokens, at most `most`, that all records of the forget set's form begin with.

    Of that form are the records that begin with the two tokens with which most forget records begin. Empty where less
    than half of the forget records have the form, or no unseen record has it: records of one person may all begin with
    the name.
    """
    begins = _begins(forget)
    if not begins:
        return []
    form, count = Counter(tuple(ids[:FIRST]) for ids in begins).most_common(1)[0]
    others = [ids for ids in _begins(unseen) if tuple(ids[:FIRST]) == form]
    if 2 * count < len(begins) or not others:
        return []
    family = [ids for ids in begins if tuple(ids[:FIRST]) == form] + others
    common = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, zip(*family, strict=False))
    return [tokens[0] for tokens in itertools.islice(common, most)]


def _begins(chunks: Iterable[Chunk]) -> list[list[int]]:
    """The first chunk of each record."""
    first: dict[int, list[int]] = {}
    for chunk in chunks:
        first.setdefault(chunk.record, chunk.ids.tolist())
    return list(first.values())
