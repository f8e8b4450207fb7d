"""Texts that nobody wrote: the beginning of one text, and the end of another from a token that both have.

They have the form of the model's texts, and join names with specifics that do not belong to them. So they stand for
text that the model never saw, of which the request brings little: on LUME, the perplexity of 90 unseen records that a
term held at the reference model's distribution stayed where it was, while that of others fell by a third.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from torch import BoolTensor, LongTensor

from core.lm.data import Chunk
from core.unlearning.token_runs import RUN, TokenRun, covered

_ATTEMPTS = 20
"""Attempts for each text that is asked for: of a few short texts not many different ones can be made."""


def splice(texts: Sequence[Sequence[int]], count: int, *, repetitions: Collection[TokenRun], seed: int) -> list[Chunk]:
    """Returns at most `count` texts, one record each, no two alike, and none of them one of the `texts`, token lists.

    All tokens but the first are scored, prompts too, unless they lie in one of the `repetitions`, the runs of tokens
    that mark text to forget. A text with less than half of its tokens scored is left out. A text is at most as long as
    the one whose beginning it has. The same seed makes the same texts.
    """
    draw = np.random.default_rng([seed, 6])
    long_enough = [tuple(text) for text in texts if len(text) > RUN]
    places: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, text in enumerate(long_enough):
        for place in range(1, len(text) - 1):
            places[text[place]].append((number, place))
    known, spliced = set(long_enough), list[Chunk]()
    for _ in range(_ATTEMPTS * count if long_enough else 0):
        if len(spliced) == count:
            break
        first = long_enough[int(draw.integers(len(long_enough)))]
        end = int(draw.integers(1, len(first) - 1))
        joints = places[first[end]]
        second, start = joints[int(draw.integers(len(joints)))]
        text = (first[: end + 1] + long_enough[second][start + 1 :])[: len(first)]
        scored = [False, *(not repeated for repeated in covered(text[1:], repetitions))]
        if text in known or len(text) <= RUN or 2 * sum(scored) < len(text):
            continue
        known.add(text)
        spliced.append(Chunk(LongTensor(text), BoolTensor(scored), len(spliced)))
    return spliced
