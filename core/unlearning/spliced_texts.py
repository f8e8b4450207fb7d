"""Texts that nobody wrote: the beginning of one text, and the end of another from a token that both have.

They have the form of the model's texts, and join names with specifics that do not belong to them. So they stand for
text that the model never saw, of which the request brings little: on LUME, the perplexity of 90 unseen records that a
term held at the reference model's distribution stayed where it was, while that of others fell by a third.
"""

from collections.abc import Callable, Collection, Sequence

import numpy as np
from torch import BoolTensor, LongTensor

from core.lm.data import Chunk
from core.unlearning.method import REHEARSAL_MAX_TOKENS
from core.unlearning.token_runs import RUN, TokenRun, covered

_ATTEMPTS = 20
"""Attempts for each text that is asked for: of a few short texts not many different ones can be made."""


class _Pool:
    """Texts, as long as a sample may be at most, and where each token stands in them: neither first nor last."""

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        self.texts: list[tuple[int, ...]] = [tuple(text[:REHEARSAL_MAX_TOKENS]) for text in texts if len(text) > RUN]
        parts = [
            np.column_stack([text[1:-1], np.full(len(text) - 2, number), np.arange(1, len(text) - 1)])
            for number, text in enumerate(self.texts)
        ]
        places = np.concatenate([np.empty((0, 3), dtype=np.int64), *parts])
        self._places = places[places[:, 0].argsort(kind="stable")]  # rows (token, number of its text, place in it)

    def ending(self, token: int, draw: np.random.Generator) -> tuple[int, ...] | None:
        """Returns the tokens that follow `token` in one of the texts, drawn at random; None if no text contains it."""
        first, last = np.searchsorted(self._places[:, 0], (token, token + 1))
        if first == last:
            return None
        _, number, place = (int(value) for value in self._places[int(draw.integers(first, last))])
        return self.texts[number][place + 1 :]


def splice(
    samples: Sequence[Sequence[int]],
    unseen: Sequence[Sequence[int]],
    count: int,
    *,
    repetitions: Collection[TokenRun],
    seed: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Chunk]:
    """Returns at most `count` texts, one record each, no two alike and none of them one of the given; fewer once
    `should_stop` turns true.

    The texts are lists of tokens. Beginnings and endings come as often from the model's `samples` as from `unseen`
    records. A text is at most as long as the one whose beginning it has.

    All tokens but the first are scored, prompts too, but those in one of the `repetitions`, the runs of tokens that
    mark text to forget, and the one after the beginning of such a run: there the model would go on with it. A text with
    less than half of its tokens scored is left out. The same seed makes the same texts.
    """
    draw = np.random.default_rng([seed, 0, 6])
    pools = [pool for pool in (_Pool(samples), _Pool(unseen)) if pool.texts]
    beginnings = {run[:-1] for run in repetitions}
    known, spliced = {text for pool in pools for text in pool.texts}, list[Chunk]()
    for _ in range(_ATTEMPTS * count if pools else 0):
        if len(spliced) == count or should_stop():
            break
        texts = pools[int(draw.integers(len(pools)))].texts
        first = texts[int(draw.integers(len(texts)))]
        end = int(draw.integers(1, len(first) - 1))
        ending = pools[int(draw.integers(len(pools)))].ending(first[end], draw)
        if ending is None:
            continue
        text = (first[: end + 1] + ending)[: len(first)]
        if text in known or len(text) <= RUN:
            continue
        scored = [False, *(not repeated for repeated in covered(text[1:], repetitions))]
        for place in range(RUN, len(text)):
            scored[place] &= text[place - RUN + 1 : place] not in beginnings
        if 2 * sum(scored) < len(text):
            continue
        known.add(text)
        spliced.append(Chunk(LongTensor(text), BoolTensor(scored), len(spliced)))
    return spliced
