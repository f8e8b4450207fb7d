"""What other records say of which capitalised words are ordinary ones."""

from collections import Counter
from collections.abc import Sequence

from core.evaluation.text.words import ORDINARY, plain_words
from core.schema.record import Record

_MANY, _SHARE = 3, 0.05
"""A capitalised word is ordinary where it stands in so many other records, of as many subjects, and in such a share of
them: a name may stand in every record of one person."""
_TELLING = 20
"""So many other records are enough to say that a word which is in none of them is no ordinary one."""


class Background:
    """Other records: what their words say of which capitalised words are ordinary.

    `records` are counted in; of `also`, such as records about the same person, only the lower case is heard.
    """

    def __init__(self, records: Sequence[Record] = (), also: Sequence[Record] = ()) -> None:
        self._count = len(records)
        self._capitalised: Counter[str] = Counter()
        self._subjects: dict[str, set[str]] = {}
        self._lower: set[str] = set()
        for record in (*records, *also):
            words = {word for text in record.texts() for word in plain_words(text)}
            self._lower |= {word for word in words if word.islower()}
        for number, record in enumerate(records):
            words = {word for text in record.texts() for word in plain_words(text)}
            capitalised = {word.casefold() for word in words if not word.islower()}
            self._capitalised.update(capitalised)
            subject = f"record {number}" if record.subject is None else f"subject {record.subject}"
            for word in capitalised:
                self._subjects.setdefault(word, set()).add(subject)

    @property
    def telling(self) -> bool:
        return self._count >= _TELLING

    def ordinary(self, word: str) -> bool:
        """Whether a word says nothing of whom a record is about."""
        folded = word.casefold()
        if folded in ORDINARY or folded in self._lower:
            return True
        often = self._capitalised[folded] >= max(_MANY, _SHARE * self._count)
        return often and len(self._subjects[folded]) >= _MANY


NOTHING = Background()
