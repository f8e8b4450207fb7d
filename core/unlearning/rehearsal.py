"""Rehearsal samples: texts that the reference model writes by itself, to retain knowledge in no retain set.

A model that has memorised a text writes it now and then, so a retain term on the model's own samples protects knowledge
that nobody listed (pseudo-rehearsal; Robins, 1995). A chat model knows most of it as answers, so half of the samples
answer the prompts of unseen records, where these have prompts.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import BoolTensor, LongTensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate_batches, plan_batches
from core.unlearning.method import rehearsal_length
from core.unlearning.rehearsal_cache import RehearsalCache, Sample, SampleSettings
from core.unlearning.token_runs import RUN, chunk_runs, covered


def rehearse(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: int,
    temperature: float,
    seed: int,
    forget: Sequence[Chunk],
    unseen: Sequence[Chunk] = (),
    retain_chunks: Iterable[Chunk],
    max_tokens: int,
    should_stop: Callable[[], bool],
    cache: RehearsalCache | None = None,
) -> list[Chunk]:
    """Draws at most `texts` samples, one record each, as long as the forget set's median chunk or a little longer
    (`rehearsal_length`). Half of them answer the prompts of `unseen` records in turn, where these have prompts, which
    are not scored.

    Repetitions of the forget set are not scored: runs of five tokens that a forget record has and none of
    `retain_chunks`. A sample with less than half of its tokens scored is dropped. So a sample that shares a date or a
    street with a forget record retains the rest of its text, and one that recites the record retains nothing.
    Returns only answers where the tokenizer has no token to begin a text with, and fewer once `should_stop` turns true.
    The same seed gives the same samples, however many tokens (`max_tokens`) are written at a time. Samples in the
    `cache` are not written again; where earlier jobs dropped some, samples of higher numbers take their places.
    """
    lengths = sorted(len(chunk.ids) for chunk in forget)
    length = rehearsal_length(lengths[len(lengths) // 2])
    prompts = _prompts(unseen, shorter_than=length - RUN)
    counts = {(): texts - texts // 2, prompts: texts // 2} if prompts else {(): texts}
    written = [
        (_prompt_length(ids, asked), ids)
        for asked, count in counts.items()
        for ids in write_samples(
            forward,
            tokenizer,
            count,
            SampleSettings(temperature, seed, length, asked),
            max_tokens=max_tokens,
            should_stop=should_stop,
            cache=cache,
        )
    ]
    repetitions = chunk_runs(forget) - chunk_runs(retain_chunks)
    samples: list[Chunk] = []
    for given, ids in written:
        scored = [False, *(not repeated for repeated in covered(ids[1:], repetitions))]
        scored[:given] = [False] * given
        if len(ids) >= given + RUN and 2 * sum(scored) >= len(ids) - given:
            samples.append(Chunk(LongTensor(ids), BoolTensor(scored), len(samples)))
    return samples


def write_samples(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    texts: int,
    settings: SampleSettings,
    *,
    max_tokens: int,
    should_stop: Callable[[], bool],
    cache: RehearsalCache | None,
) -> list[Sample]:
    """The first `texts` samples that no earlier job has dropped: from the cache, and written where they are missing.

    Samples that answer prompts hold text of the request, and are kept for the job alone, until it ends.
    Empty where the settings have no prompts and the tokenizer has no token to begin a text with; fewer once
    `should_stop` turns true.
    """
    first_tokens = (token for token in (tokenizer.bos_token_id, tokenizer.eos_token_id) if token is not None)
    prompts = [list(prompt) for prompt in settings.prompts] or [[token] for token in first_tokens][:1]
    if not prompts:
        return []
    ranks = forward.ranks
    first = ranks.rank == 0
    samples: list[Sample | None] = []
    shared = not settings.prompts
    if cache is not None and first:
        begun = cache.job_samples(settings)
        samples = begun if begun is not None else cache.load(settings) if shared else []
    samples = ranks.broadcast(samples)
    present = 0
    for number, sample in enumerate(samples):
        if present == texts:
            samples = samples[:number]
            break
        present += sample is not None
    if missing := texts - present:
        samples += _write(
            forward, len(samples), missing, settings, prompts, tokenizer.eos_token_id, max_tokens, should_stop
        )
    if cache is not None and first:
        cache.keep_for_job(settings, samples)
        if shared:
            cache.keep(settings, samples)
    return [sample for sample in samples if sample is not None]


def _write(
    forward: Forward,
    start: int,
    count: int,
    settings: SampleSettings,
    prompts: Sequence[Sample],
    end: int | None,
    max_tokens: int,
    should_stop: Callable[[], bool],
) -> list[Sample]:
    """Writes the samples with the numbers from `start` on; fewer than `count` once `should_stop` turns true."""
    length = settings.length
    generator = torch.Generator().manual_seed(settings.seed)
    chances = torch.rand(start + count, length - 1, generator=generator, dtype=torch.float64)[start:]
    asked = [prompts[number % len(prompts)] for number in range(start, start + count)]
    counts = [length - len(prompt) for prompt in asked]
    plan = plan_batches(forward, asked, counts, max_tokens=max_tokens)
    batches = [
        PromptBatch([asked[number] for number in batch], [counts[number] for number in batch], chances[batch])
        for batch in plan
    ]
    written = generate_batches(
        forward,
        batches,
        ends=() if end is None else (end,),
        temperature=settings.temperature,
        precision=None,
        should_stop=should_stop,
    )
    rows = {number: row for batch, answers in written.items() for number, row in zip(plan[batch], answers, strict=True)}
    complete = next((number for number in range(count) if number not in rows), count)
    return [[*asked[number], *rows[number]] for number in range(complete)]


def _prompts(chunks: Sequence[Chunk], *, shorter_than: int) -> tuple[tuple[int, ...], ...]:
    """The different prompts of the records: the tokens before the first that is scored, unless they are only one."""
    first_chunks = {chunk.record: chunk for chunk in reversed(chunks)}
    prompts = (tuple(chunk.ids[: int(chunk.scored.int().argmax())].tolist()) for chunk in first_chunks.values())
    return tuple(dict.fromkeys(prompt for prompt in prompts if 1 < len(prompt) < shorter_than))


def _prompt_length(ids: Sample, prompts: Sequence[Sequence[int]]) -> int:
    """The length of the prompt that the sample answers; 1 without any: the token that begins every text."""
    return max((len(prompt) for prompt in prompts if tuple(ids[: len(prompt)]) == prompt), default=1)
