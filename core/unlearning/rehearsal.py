"""Rehearsal samples: texts that the reference model writes by itself, to retain knowledge in no retain set.

A model that has memorised a text writes it now and then, so a retain term on the model's own samples protects knowledge
that nobody listed (pseudo-rehearsal; Robins, 1995). A model that has learned its records' answers, but not their
prompts, as chat models do, seldom comes to those answers by itself: there half of the samples answer the prompts of
unseen records.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import BoolTensor, LongTensor, Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate_batches, plan_batches
from core.unlearning.learned_prompts import has_learned_prompts, prompts_of
from core.unlearning.method import rehearsal_length
from core.unlearning.rehearsal_cache import RehearsalCache, Sample, SampleSettings
from core.unlearning.token_runs import RUN, chunk_runs, covered

FIRST_LEAST = 1 / 2500
"""The least probability of a token that begins a sample at a temperature of its own. No text begins with most of the
others, and a temperature above 1 would draw many of them: on the demo's people for half of the samples at 2. The rarest
beginning of a learned record has 0.002 there and 0.00044 on LUME."""
LENGTH_QUANTILE = 0.9
"""Samples are as long as the forget record of this rank: most texts that the model knows then fit in. Of LUME's records
the median has 15 tokens, the longest sixth 70: with samples of 16, the long ones to keep were harmed tenfold."""


def rehearse(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: int,
    temperature: float,
    first_temperature: float | None = None,
    seed: int,
    forget: Sequence[Chunk],
    unseen: Sequence[Chunk] = (),
    retain_chunks: Iterable[Chunk],
    max_tokens: int,
    should_stop: Callable[[], bool],
    cache: RehearsalCache | None = None,
) -> list[Chunk]:
    """Draws at most `texts` samples, one record each, at most a little longer than nine in ten of the forget chunks
    (`rehearsal_length`). Half of them answer the prompts of `unseen` records in turn, which are not scored, where these
    have prompts that the model has not learned.

    Of n equal samples the root of n are kept, rounded up. Repetitions of the forget set are not scored: runs of five
    tokens that a forget record has and none of `retain_chunks`. A sample with less than half of its tokens scored is
    dropped. So a sample that shares a date or a street with a forget record retains the rest of its text, and one that
    recites the record retains nothing.
    Returns only answers where the tokenizer has no token to begin a text with, and fewer once `should_stop` turns true.
    The same seed gives the same samples, however many tokens (`max_tokens`) are written at a time. Samples in the
    `cache` are not written again; where earlier jobs dropped some, samples of higher numbers take their places.
    """
    lengths = sorted(len(chunk.ids) for chunk in forget)
    length = rehearsal_length(lengths[int(LENGTH_QUANTILE * len(lengths))])
    prompts = prompts_of(unseen, shorter_than=length - RUN)
    begins = tokenizer.bos_token_id is not None or tokenizer.eos_token_id is not None
    if prompts and begins and has_learned_prompts(forward, forget, unseen, max_tokens=max_tokens):
        prompts = ()
    counts = {(): texts - texts // 2, prompts: texts // 2} if prompts else {(): texts}
    written = [
        (_prompt_length(ids, asked), ids)
        for asked, count in counts.items()
        for ids in write_samples(
            forward,
            tokenizer,
            count,
            SampleSettings(temperature, seed, length, asked)
            if asked or first_temperature is None
            else SampleSettings(temperature, seed, length, (), first_temperature, FIRST_LEAST),
            max_tokens=max_tokens,
            should_stop=should_stop,
            cache=cache,
        )
    ]
    repetitions = chunk_runs(forget) - chunk_runs(retain_chunks)
    samples: list[Chunk] = []
    for given, ids in _thin_out(written):
        scored = [False, *(not repeated for repeated in covered(ids[1:], repetitions))]
        scored[:given] = [False] * given
        if len(ids) >= given + RUN and 2 * sum(scored) >= len(ids) - given:
            samples.append(Chunk(LongTensor(ids), BoolTensor(scored), len(samples)))
    return samples


def _thin_out(written: Sequence[tuple[int, Sample]]) -> Iterator[tuple[int, Sample]]:
    """Yields at most the root of n, rounded up, of n equal samples, so that texts that are seldom written count more.

    A model writes some of its texts ten times as often as others. On LUME the seldom written ones were harmed most.
    """
    numbers, kept = Counter(tuple(ids) for _, ids in written), Counter[tuple[int, ...]]()
    for given, ids in written:
        text = tuple(ids)
        kept[text] += 1
        if kept[text] <= math.ceil(math.sqrt(numbers[text])):
            yield given, ids


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
    length, ends = settings.length, () if end is None else (end,)
    generator = torch.Generator().manual_seed(settings.seed)
    chances = torch.rand(start + count, length - 1, generator=generator, dtype=torch.float64)[start:]

    def written(batches: Sequence[PromptBatch], temperature: float) -> dict[int, list[list[int]]]:
        return generate_batches(
            forward, batches, ends=ends, temperature=temperature, precision=None, should_stop=should_stop
        )

    asked = [list(prompts[number % len(prompts)]) for number in range(start, start + count)]
    ended: set[int] = set()
    if settings.first_temperature is not None:
        first = _draw_first(forward, prompts[0], start, chances[:, 0], settings)
        ended = {number for number, token in enumerate(first) if token in ends}
        asked = [[*prompts[0], *([] if token in ends else [token])] for token in first]
        chances = chances[:, 1:]
    counts = [0 if number in ended else length - len(prompt) for number, prompt in enumerate(asked)]
    plan = plan_batches(forward, asked, counts, max_tokens=max_tokens)
    batches = [
        PromptBatch([asked[number] for number in batch], [counts[number] for number in batch], chances[batch])
        for batch in plan
    ]
    texts = {number: list[int]() for number, most in enumerate(counts) if most == 0}
    for batch, answers in written(batches, settings.temperature).items():
        texts |= dict(zip(plan[batch], answers, strict=True))
    complete = next((number for number in range(len(asked)) if number not in texts), len(asked))
    return [[*asked[number], *texts[number]] for number in range(complete)]


@torch.no_grad()
def _draw_first(forward: Forward, prompt: Sample, start: int, chances: Tensor, settings: SampleSettings) -> list[int]:
    """Draws the token after the prompt for each of the samples from `start` on, by chances (N,), uniform in [0, 1).

    Samples of odd numbers draw at `first_temperature` from tokens of at least `first_least`. The others draw each token
    as often as the model begins a text with it.
    """
    forward.prepare_decoding(len(prompt) + 1)
    logits, _ = forward.next_logits(torch.tensor([prompt], device=forward.device), None, None)  # (1, V)
    logarithms = logits[0].double().cpu().log_softmax(-1)
    least = min(math.log(settings.first_least), float(logarithms.max())) if settings.first_least else -math.inf
    likely = logarithms.masked_fill(logarithms < least, -math.inf) / (settings.first_temperature or 1.0)
    drawn = torch.empty(len(chances), dtype=torch.long)
    for part, scaled in enumerate((logarithms, likely)):
        cumulated = scaled.softmax(-1).cumsum(-1)
        own = (start + torch.arange(len(chances))) % 2 == part
        token = torch.searchsorted(cumulated, chances[own] * cumulated[-1], right=True)
        drawn[own] = token.clamp(max=int(scaled.isfinite().nonzero().max()))
    return forward.ranks.broadcast(drawn.tolist())


def _prompt_length(ids: Sample, prompts: Sequence[Sequence[int]]) -> int:
    """The length of the prompt that the sample answers; 1 without any: the token that begins every text."""
    return max((len(prompt) for prompt in prompts if tuple(ids[: len(prompt)]) == prompt), default=1)
