"""What the original model knows besides, in its own words: text that it writes when it is asked for nothing.

A retain set protects what is in it. What the model knows and nobody thought to list is protected by holding on to the
model's own samples: a model that has memorised a text writes it now and then (pseudo-rehearsal; Robins, 1995).
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate_batches

_RUN = 5
"""Tokens in a row that, where only the forget set has them, tell that a sample repeats what must be forgotten."""
_LONGEST = 256


def rehearse(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: int,
    temperature: float,
    seed: int,
    forget: Sequence[Chunk],
    others: Iterable[Chunk],
    max_tokens: int,
    should_stop: Callable[[], bool],
) -> list[Chunk]:
    """At most `texts` samples, each one record, as long as the forget set's median chunk (256 tokens at most).

    Not scored is what repeats the forget set: runs of five tokens that a forget record has and none of `others`; a
    sample of which less than half is left is dropped. So a sample that shares a date or a street with a forget record
    still holds the rest of itself, and one that recites the record holds nothing. None at all where the tokenizer has
    no token to begin a text with, fewer where `should_stop` turns true. The same for the same seed, however many
    tokens (`max_tokens`) are written at a time.
    """
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if begin is None:
        return []
    lengths = sorted(len(chunk.ids) for chunk in forget)
    length = min(_LONGEST, lengths[len(lengths) // 2])
    forbidden = _runs(forget) - _runs(others)
    chances = torch.rand(texts, length - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows_at_once = 1 if forward.prepare_decoding(length).alone else max(1, max_tokens // length)
    batches = [
        PromptBatch([[begin]] * len(drawn), [length - 1] * len(drawn), drawn)
        for drawn in torch.split(chances, rows_at_once)
    ]
    written = generate_batches(forward, batches, temperature=temperature, precision=None, should_stop=should_stop)
    samples: list[Chunk] = []
    for rows in written.values():
        for row in rows:
            ids = _ended(torch.tensor([begin, *row]), tokenizer.eos_token_id)
            scored = torch.tensor([False] + [not repeats for repeats in _covered(ids.tolist()[1:], forbidden)])
            if len(ids) > _RUN and 2 * int(scored.sum()) >= len(ids) - 1:
                samples.append(Chunk(LongTensor(ids), BoolTensor(scored), len(samples)))
    return samples


def _ended(ids: Tensor, end: int | None) -> Tensor:
    """The tokens up to the first end of sequence after the beginning."""
    tokens: list[int] = ids.tolist()
    return ids[: tokens.index(end, 1)] if end in tokens[1:] else ids


def _covered(tokens: Sequence[int], forbidden: set[tuple[int, ...]]) -> list[bool]:
    """For each token, whether a forbidden run goes over it."""
    covered = [False] * len(tokens)
    for at in range(len(tokens) - _RUN + 1):
        if tuple(tokens[at : at + _RUN]) in forbidden:
            covered[at : at + _RUN] = [True] * _RUN
    return covered


def _runs(chunks: Iterable[Chunk]) -> set[tuple[int, ...]]:
    """Every run of tokens of the length that counts; the beginning token is in none."""
    runs: set[tuple[int, ...]] = set()
    for chunk in chunks:
        ids = chunk.ids.tolist()[1:]
        runs.update(tuple(ids[at : at + _RUN]) for at in range(len(ids) - _RUN + 1))
    return runs
