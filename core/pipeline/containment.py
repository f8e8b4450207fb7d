"""Records that hold a text that must be forgotten, or are held by one, found by shingles.

A shingle is three words in a row (Broder, On the resemblance and containment of documents, 1997, section 2). A passage
is contained in a record that has all of its words and `SHARE` of its shingles. Records of one template share many
shingles, but not the words by which they differ: of TOFU's forget10 in retain90, LUME's personal records and the demo's
people, none that is another's reaches .6 of the shingles, nor has any all of the words. Short passages must be there
whole, since a single word breaks up to three shingles.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.schema.record import Record

SHARE = 0.8
FEWEST_WORDS = 4
FEWEST_ANSWER_WORDS = 8
"""An answer alone says something from here on; a shorter one, such as a year, is in many texts."""
_ANCHORS = 6
"""A passage is looked for by its rarest shingles, half of which must be there: with four fifths of all, they are."""
_CANDIDATES = 16
"""Passages that are compared with a record, those with most anchors in it first."""
_LONGEST_POSTING = 256
"""Passages that are looked at for a shingle: it tells nothing where more of them have it, and the time stays linear."""
_WORD_BITS = 21
# scripts without spaces between words are taken sign by sign
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class _Passage:
    """The distinct words and shingles of a text, as sorted numbers."""

    words: Numbers
    shingles: Numbers

    def is_in(self, other: "_Passage") -> bool:
        if not np.isin(self.words, other.words, assume_unique=True).all():
            return False
        shared = int(np.isin(self.shingles, other.shingles, assume_unique=True).sum())
        return shared >= SHARE * len(self.shingles)


class _Postings:
    """Which passages have a shingle: sorted arrays, 16 bytes a shingle."""

    def __init__(self, shingles: Sequence[Numbers]) -> None:
        together = np.concatenate([*shingles, np.zeros(0, np.int64)])
        owners = np.repeat(np.arange(len(shingles)), [len(passage) for passage in shingles])
        order = np.argsort(together, kind="stable")
        self._shingles, self._owners = together[order], owners[order]

    def counts(self, shingles: Numbers) -> Numbers:
        """How many passages have each of the shingles."""
        ends = np.searchsorted(self._shingles, shingles, "right")
        return np.asarray(ends - np.searchsorted(self._shingles, shingles, "left"), np.int64)

    def candidates(self, shingles: Numbers, fewest: Numbers | int) -> list[int]:
        """The passages that have at least `fewest` of the shingles, most first, `_CANDIDATES` of them at most."""
        begins = np.searchsorted(self._shingles, shingles, "left").tolist()
        counts = self.counts(shingles).tolist()
        ends = [begin + min(count, _LONGEST_POSTING) for begin, count in zip(begins, counts, strict=True)]
        owners = [self._owners[begin:end] for begin, end in zip(begins, ends, strict=True) if end > begin]
        if not owners:
            return []
        passages, hits = np.unique(np.concatenate(owners), return_counts=True)
        enough = hits >= (fewest if isinstance(fewest, int) else fewest[passages])
        passages, hits = passages[enough], hits[enough]
        most_first: list[int] = passages[np.argsort(-hits, kind="stable")[:_CANDIDATES]].tolist()
        return most_first


class Containment:
    """What a set of records holds and what holds it. Time and memory are linear in the words."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._vocabulary: dict[str, int] = {}
        texts = list(dict.fromkeys(tuple(_words(record)) for record in records))
        for text in texts:
            for word in text:
                self._vocabulary.setdefault(word, len(self._vocabulary))
        self._wholes = [self._passage(text) for text in texts]
        answers = _answers(records)
        counts = Counter(answers.values())
        # an answer that several records give, such as a refusal, is none of them
        self._common = {answer for answer, count in counts.items() if count > 1}
        own = [self._passage(answer) for answer in counts if answer not in self._common]
        self._sought = [passage for passage, text in zip(self._wholes, texts, strict=True) if _says_enough(text)] + own
        self._places = _Postings([passage.shingles for passage in self._wholes])
        anchors = [self._rarest(passage.shingles) for passage in self._sought]
        self._anchors = _Postings(anchors)
        self._half = np.array([(len(shingles) + 1) // 2 for shingles in anchors], np.int64)

    def overlapping(self, records: Sequence[Record]) -> list[int]:
        """The places of the records that hold a passage of the set, or are held by one of its records."""
        answers = _answers(records)
        counts = Counter(answers.values())
        own = {place: answer for place, answer in answers.items() if counts[answer] == 1 and answer not in self._common}
        return [place for place, record in enumerate(records) if self._overlaps(_words(record), own.get(place, ()))]

    def _overlaps(self, text: Sequence[str], answer: Sequence[str]) -> bool:
        whole = self._passage(text)
        sought = self._anchors.candidates(whole.shingles, self._half)
        if any(self._sought[number].is_in(whole) for number in sought):
            return True
        return any(
            self._is_held(self._passage(passage))
            for passage in (text, answer)
            if _says_enough(passage) and all(word in self._vocabulary for word in passage)
        )

    def _is_held(self, passage: _Passage) -> bool:
        counts = self._places.counts(passage.shingles)
        if (counts > 0).sum() < SHARE * len(counts):
            return False
        anchors = _few(passage, counts)
        holders = self._places.candidates(anchors, (len(anchors) + 1) // 2)
        return any(passage.is_in(self._wholes[number]) for number in holders)

    def _rarest(self, shingles: Numbers) -> Numbers:
        return shingles[np.argsort(self._places.counts(shingles), kind="stable")[:_ANCHORS]]

    def _passage(self, words: Sequence[str]) -> _Passage:
        """A word that the set does not have is -1, and its shingles are left out: nothing here has them."""
        numbers = np.array([self._vocabulary.get(word, -1) for word in words], np.int64)
        rows = np.stack([numbers[:-2], numbers[1:-1], numbers[2:]]) if len(words) > 2 else np.zeros((3, 0), np.int64)
        rows = rows[:, (rows >= 0).all(0)]
        shingles = (rows[0] << 2 * _WORD_BITS) ^ (rows[1] << _WORD_BITS) ^ rows[2]
        return _Passage(np.unique(numbers), np.unique(shingles))


def _few(passage: _Passage, counts: Numbers) -> Numbers:
    """The rarest of the shingles that are there at all."""
    there = np.flatnonzero(counts)
    return passage.shingles[there[np.argsort(counts[there], kind="stable")[:_ANCHORS]]]


def _says_enough(words: Sequence[str]) -> bool:
    return len(words) >= FEWEST_WORDS


def _words(record: Record) -> list[str]:
    return _WORD.findall(" ".join(record.texts()).casefold())


def _answers(records: Sequence[Record]) -> dict[int, tuple[str, ...]]:
    """By place, the words of the scored answers that are long enough to say something by themselves."""
    answers = {}
    for place, record in enumerate(records):
        words = [] if record.is_plain_text else _WORD.findall(record.scored_text.casefold())
        if len(words) >= FEWEST_ANSWER_WORDS:
            answers[place] = tuple(words)
    return answers
