"""Learns from other records which capitalised words are common words rather than names."""

from collections import Counter
from collections.abc import Sequence

from core.evaluation.text.words import COMMON_ENGLISH, plain_words
from core.schema.record import Record

_FEWEST_RECORDS, _SHARE = 3, 0.05
"""A capitalised word is common if it stands in this many other records, about as many subjects, and in this share of
all other records. Subjects are counted because a name may stand in every record about one person."""
_RELIABLE_COUNT = 20
"""From this many other records on, a capitalised word that none of them holds counts as a name."""


class CommonWords:
    """The common words of other records: capitalised ones that many records share, and all that stand in lower case.

    From `lower_case_only` (records about the same person, say) only the words in lower case are learned.
    """

    def __init__(self, records: Sequence[Record] = (), lower_case_only: Sequence[Record] = ()) -> None:
        self._count = len(records)
        self._capitalised: Counter[str] = Counter()
        self._subjects: dict[str, set[str]] = {}
        self._lower: set[str] = set()
        for record in (*records, *lower_case_only):
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
    def reliable(self) -> bool:
        """Whether the records are enough to conclude that a capitalised word which they lack is a name."""
        return self._count >= _RELIABLE_COUNT

    def is_common(self, word: str) -> bool:
        """Whether the word does not identify whom a record is about."""
        folded = word.casefold()
        if folded in COMMON_ENGLISH or folded in self._lower:
            return True
        frequent = self._capitalised[folded] >= max(_FEWEST_RECORDS, _SHARE * self._count)
        return frequent and len(self._subjects[folded]) >= _FEWEST_RECORDS


ENGLISH_ONLY = CommonWords()
"""The common English words, without other records."""
