"""Rehearsal samples: texts that the reference model writes without a prompt, to retain knowledge in no retain set.

A model that has memorised a text writes it now and then, so a retain term on the model's own samples protects knowledge
that nobody listed (pseudo-rehearsal; Robins, 1995).
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate_batches
from core.unlearning.method import REHEARSAL_MAX_TOKENS

_RUN = 5
"""Consecutive tokens that mark a repetition of the forget set where no other set has them."""


def rehearse(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: int,
    temperature: float,
    seed: int,
    forget: Sequence[Chunk],
    retain_chunks: Iterable[Chunk],
    max_tokens: int,
    should_stop: Callable[[], bool],
) -> list[Chunk]:
    """Draws at most `texts` samples, one record each, as long as the forget set's median chunk (256 tokens at most).

    Repetitions of the forget set are not scored: runs of five tokens that a forget record has and none of
    `retain_chunks`. A sample with less than half of its tokens scored is dropped. So a sample that shares a date or a
    street with a forget record retains the rest of its text, and one that recites the record retains nothing.
    Returns no sample where the tokenizer has no token to begin a text with, and fewer once `should_stop` turns true.
    The same seed gives the same samples, however many tokens (`max_tokens`) are written at a time.
    """
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if begin is None:
        return []
    lengths = sorted(len(chunk.ids) for chunk in forget)
    length = min(REHEARSAL_MAX_TOKENS, lengths[len(lengths) // 2])
    repetitions = _runs(forget) - _runs(retain_chunks)
    chances = torch.rand(texts, length - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows_per_batch = 1 if forward.prepare_decoding(length).one_row else max(1, max_tokens // length)
    batches = [
        PromptBatch([[begin]] * len(batch_chances), [length - 1] * len(batch_chances), batch_chances)
        for batch_chances in torch.split(chances, rows_per_batch)
    ]
    written = generate_batches(forward, batches, temperature=temperature, precision=None, should_stop=should_stop)
    samples: list[Chunk] = []
    for rows in written.values():
        for row in rows:
            ids = _until_end(torch.tensor([begin, *row]), tokenizer.eos_token_id)
            scored = torch.tensor([False] + [not repeated for repeated in _covered(ids.tolist()[1:], repetitions)])
            if len(ids) > _RUN and 2 * int(scored.sum()) >= len(ids) - 1:
                samples.append(Chunk(LongTensor(ids), BoolTensor(scored), len(samples)))
    return samples


def _until_end(ids: Tensor, end: int | None) -> Tensor:
    """The tokens before the first end-of-sequence token, which may not be the first token."""
    tokens: list[int] = ids.tolist()
    return ids[: tokens.index(end, 1)] if end in tokens[1:] else ids


def _covered(tokens: Sequence[int], runs: set[tuple[int, ...]]) -> list[bool]:
    """For each token, whether it lies in one of the runs."""
    covered = [False] * len(tokens)
    for start in range(len(tokens) - _RUN + 1):
        if tuple(tokens[start : start + _RUN]) in runs:
            covered[start : start + _RUN] = [True] * _RUN
    return covered


def _runs(chunks: Iterable[Chunk]) -> set[tuple[int, ...]]:
    """All runs of _RUN tokens of the chunks, without each chunk's first token."""
    runs: set[tuple[int, ...]] = set()
    for chunk in chunks:
        ids = chunk.ids.tolist()[1:]
        runs.update(tuple(ids[start : start + _RUN]) for start in range(len(ids) - _RUN + 1))
    return runs
