"""How much of a text comes back: ROUGE-L by the rouge-score library, and the longest common run of tokens."""

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


class Words:
    """The tokenizer that ROUGE is given: words in lower case, of any script.

    The library's own drops every letter but a to z. Scripts that put no space between words give a word for each
    character; a text without a letter or a digit gives its signs.
    """

    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower()) or [sign for sign in text if not sign.isspace()]


def rouge_l(truth: str, said: str) -> tuple[float, float]:
    """ROUGE-L recall and F1 of what was said, from the longest common subsequence of words, without stemming.

    0 where either has no words. Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004, section 3.
    """
    score = _scorer().score(truth, said)["rougeL"]
    return float(score.recall), float(score.fmeasure)


def longest_run(truth: Sequence[int], said: Sequence[int]) -> int:
    """The length of the longest run of tokens that is in both, wherever it stands."""
    longest = 0
    ending = [0] * (len(said) + 1)  # of the common run that ends at the truth's token before, and at each one said
    for token in truth:
        now = [0] * (len(said) + 1)
        for place, other in enumerate(said):
            if token == other:
                now[place + 1] = ending[place] + 1
        longest = max(longest, max(now))
        ending = now
    return longest


@cache
def _scorer() -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False, tokenizer=Words())
