"""Overlap of two texts: ROUGE-L by the rouge-score library, and the longest common run of tokens."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")


class WordTokenizer:
    """Tokenizer for the rouge-score library: lower-case words of any script.

    The library's own tokenizer drops every letter but a to z. In scripts without spaces each character is a word; a
    text without letters and digits is split into its signs.
    """

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower()) or [sign for sign in text if not sign.isspace()]


def rouge_l(truth: str, answer: str) -> tuple[float, float]:
    """ROUGE-L recall and F1 of an answer, from the longest common subsequence of words, without stemming.

    0 if either text has no words. Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004,
    section 3.
    """
    score = _scorer().score(truth, answer)["rougeL"]
    return float(score.recall), float(score.fmeasure)


def longest_common_run(truth: Sequence[int], answer: Sequence[int]) -> int:
    """The length of the longest run of tokens that both hold, at whatever positions."""
    longest = 0
    # lengths of the common runs that end at one token of the truth and at each token of the answer
    previous = [0] * (len(answer) + 1)
    for token in truth:
        lengths = [0] * (len(answer) + 1)
        for position, other in enumerate(answer):
            if token == other:
                lengths[position + 1] = previous[position] + 1
        longest = max(longest, max(lengths))
        previous = lengths
    return longest


@cache
def _scorer() -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False, tokenizer=WordTokenizer())
