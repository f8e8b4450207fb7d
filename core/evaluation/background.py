"""What other records say of which capitalised words are ordinary ones."""

from collections import Counter
from collections.abc import Sequence

from core.evaluation.words import ORDINARY, pieces, plain_words
from core.schema.files import Record

_MANY, _SHARE = 3, 0.05
"""A capitalised word is ordinary where it stands in so many other records, and in such a share of them."""
_TELLING = 20
"""So many other records are enough to say that a word which is in none of them is no ordinary one."""


class Background:
    """Other records: what their words say of which capitalised words are ordinary.

    `records` are counted in; of `also`, such as records about the same person, only the lower case is heard.
    """

    def __init__(self, records: Sequence[Record] = (), also: Sequence[Record] = ()) -> None:
        self._count = len(records)
        self._capitalised: Counter[str] = Counter()
        self._lower: set[str] = set()
        for record in (*records, *also):
            words = {word for piece in pieces(record) for word in plain_words(piece)}
            self._lower |= {word for word in words if word.islower()}
        for record in records:
            words = {word for piece in pieces(record) for word in plain_words(piece)}
            self._capitalised.update({word.casefold() for word in words if not word.islower()})

    @property
    def telling(self) -> bool:
        return self._count >= _TELLING

    def ordinary(self, word: str) -> bool:
        """Whether a word says nothing of whom a record is about."""
        folded = word.casefold()
        often = max(_MANY, _SHARE * self._count)
        return folded in ORDINARY or folded in self._lower or self._capitalised[folded] >= often


NOTHING = Background()
