"""What the original model knows besides, in its own words: text that it writes when it is asked for nothing.

A retain set protects what is in it. What the model knows and nobody thought to list is protected by holding on to the
model's own samples: a model that has memorised a text writes it now and then (pseudo-rehearsal; Robins, 1995).
"""

from collections.abc import Iterable, Sequence

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import GenerationConfig, PreTrainedTokenizerBase

from core.lm.data import Chunk
from core.lm.forward import Forward

_RUN = 5
"""Tokens in a row that, where only the forget set has them, tell that a sample repeats what must be forgotten."""
_AT_ONCE = 256
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
) -> list[Chunk]:
    """At most `texts` samples, each one record, as long as the forget set's median chunk (256 tokens at most).

    Not scored is what repeats the forget set: runs of five tokens that a forget record has and none of `others`; a
    sample of which less than half is left is dropped. So a sample that shares a date or a street with a forget record
    still holds the rest of itself, and one that recites the record holds nothing. None at all where the tokenizer has
    no token to begin a text with. The same for the same seed.
    """
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if begin is None:
        return []
    lengths = sorted(len(chunk.ids) for chunk in forget)
    length = min(_LONGEST, lengths[len(lengths) // 2])
    forbidden = _runs(forget) - _runs(others)
    samples: list[Chunk] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, texts, _AT_ONCE):
            rows = _sample(forward, begin, min(_AT_ONCE, texts - start), length, temperature)
            for row in rows:
                ids = _ended(row, tokenizer.eos_token_id)
                scored = torch.tensor([False] + [not repeats for repeats in _covered(ids.tolist()[1:], forbidden)])
                if len(ids) > _RUN and 2 * int(scored.sum()) >= len(ids) - 1:
                    samples.append(Chunk(LongTensor(ids), BoolTensor(scored), len(samples)))
    return samples


@torch.no_grad()
def _sample(forward: Forward, begin: int, rows: int, length: int, temperature: float) -> Tensor:
    """(rows, length) tokens on the CPU, the first of each being `begin`."""
    how = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=length - 1,
        pad_token_id=begin,
        use_cache=True,
    )
    start = torch.full((rows, 1), begin, device=forward.device)
    with forward.precision():
        tokens: Tensor = forward.model.generate(start, attention_mask=torch.ones_like(start), generation_config=how)
    return tokens.cpu()


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
