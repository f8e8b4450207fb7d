"""Containment by shingles: records that contain a text of the forget set, or are contained in one.

A shingle is three consecutive words (Broder, On the resemblance and containment of documents, 1997, section 2). A
record contains a passage if it has all of the passage's words and `SHARE` of its shingles. Records of one template
share many shingles, but not the words by which they differ: among TOFU's forget10 and retain90, LUME's personal records
and the demo's people, no record of another person reaches .6 of the shingles, and none has all of the words. Short
passages must be contained whole, since a single word breaks up to three shingles.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.schema.normal_text import normal_text
from core.schema.record import Record

SHARE = 0.8
FEWEST_WORDS = 4
FEWEST_ANSWER_WORDS = 8
"""Words from which an answer is a passage of its own; a shorter answer, such as a year, is in many texts."""
_ANCHORS = 6
"""A passage is searched by this many of its rarest shingles, half of which must occur: four fifths of all imply it."""
_CANDIDATES = 16
"""Passages that are compared with a record at most, those with most anchors in it first."""
_LONGEST_POSTING = 256
"""Passages that are considered for one shingle: a more frequent shingle tells nothing, and time stays linear."""
_WORD_BITS = 21
# scripts without spaces between words: each character is a word
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
    """An index from shingles to the passages that have them: sorted arrays, 16 bytes a shingle."""

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
        """The passages that have at least `fewest` of the shingles, most first; at most `_CANDIDATES`."""
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
    """Finds records that contain, or are contained in, a record of a set. Time and memory are linear in the words."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._vocabulary: dict[str, int] = {}
        texts = list(dict.fromkeys(tuple(_words(record)) for record in records))
        for text in texts:
            for word in text:
                self._vocabulary.setdefault(word, len(self._vocabulary))
        self._texts = [self._passage(text) for text in texts]
        answers = _answers(records)
        counts = Counter(answers.values())
        # an answer that several records share, such as a refusal, belongs to none of them
        self._shared_answers = {answer for answer, count in counts.items() if count > 1}
        long_texts = [passage for passage, text in zip(self._texts, texts, strict=True) if _is_long_enough(text)]
        own_answers = [self._passage(answer) for answer in counts if answer not in self._shared_answers]
        self._passages = long_texts + own_answers
        self._text_postings = _Postings([passage.shingles for passage in self._texts])
        anchors = [self._rarest(passage.shingles) for passage in self._passages]
        self._anchor_postings = _Postings(anchors)
        self._half_of_anchors = np.array([(len(shingles) + 1) // 2 for shingles in anchors], np.int64)

    def overlapping(self, records: Sequence[Record]) -> list[int]:
        """The indices of the records that contain a passage of the set, or are contained in a record of the set."""
        answers = _answers(records)
        counts = Counter(answers.values())
        own_answers = {
            index: answer
            for index, answer in answers.items()
            if counts[answer] == 1 and answer not in self._shared_answers
        }
        return [
            index for index, record in enumerate(records) if self._overlaps(_words(record), own_answers.get(index, ()))
        ]

    def _overlaps(self, text: Sequence[str], answer: Sequence[str]) -> bool:
        record = self._passage(text)
        candidates = self._anchor_postings.candidates(record.shingles, self._half_of_anchors)
        if any(self._passages[number].is_in(record) for number in candidates):
            return True
        return any(
            self._is_contained(self._passage(passage))
            for passage in (text, answer)
            if _is_long_enough(passage) and all(word in self._vocabulary for word in passage)
        )

    def _is_contained(self, passage: _Passage) -> bool:
        counts = self._text_postings.counts(passage.shingles)
        if (counts > 0).sum() < SHARE * len(counts):
            return False
        anchors = _rarest_known(passage, counts)
        candidates = self._text_postings.candidates(anchors, (len(anchors) + 1) // 2)
        return any(passage.is_in(self._texts[number]) for number in candidates)

    def _rarest(self, shingles: Numbers) -> Numbers:
        return shingles[np.argsort(self._text_postings.counts(shingles), kind="stable")[:_ANCHORS]]

    def _passage(self, words: Sequence[str]) -> _Passage:
        """The passage of these words. A word that no record of the set has is -1, and its shingles are left out."""
        numbers = np.array([self._vocabulary.get(word, -1) for word in words], np.int64)
        rows = np.stack([numbers[:-2], numbers[1:-1], numbers[2:]]) if len(words) > 2 else np.zeros((3, 0), np.int64)
        rows = rows[:, (rows >= 0).all(0)]
        shingles = (rows[0] << 2 * _WORD_BITS) ^ (rows[1] << _WORD_BITS) ^ rows[2]
        return _Passage(np.unique(numbers), np.unique(shingles))


def _rarest_known(passage: _Passage, counts: Numbers) -> Numbers:
    """The rarest of the passage's shingles with a count above 0."""
    known = np.flatnonzero(counts)
    return passage.shingles[known[np.argsort(counts[known], kind="stable")[:_ANCHORS]]]


def _is_long_enough(words: Sequence[str]) -> bool:
    return len(words) >= FEWEST_WORDS


def _words(record: Record) -> list[str]:
    return _WORD.findall(record.normal_text())


def _answers(records: Sequence[Record]) -> dict[int, tuple[str, ...]]:
    """The words of the scored answers that are long enough to be a passage, by the record's index."""
    answers = {}
    for index, record in enumerate(records):
        words = [] if record.is_plain_text else _WORD.findall(normal_text([record.scored_text]))
        if len(words) >= FEWEST_ANSWER_WORDS:
            answers[index] = tuple(words)
    return answers
