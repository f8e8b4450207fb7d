"""Continues token ids with a model, many rows at a time: greedily, or sampled at temperature 1.

A row's continuation does not depend on the rows of its batch. Rows are padded on their left and the padding is masked,
which is tried on a few tokens first. Where a model does not allow it, a batch has rows of one length, and a row whose
own length decides its rotary factors has a batch of its own.
"""

import random
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.budget import Budget
from core.evaluation.eval_context import EvalContext
from core.lm.data import turn_end_token
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate_batches, plan_batches
from core.lm.model import context_length
from core.lm.rotary import context_scaling
from core.lm.token_statistics import measuring_precision

_WITHOUT_GRADIENTS = 4
"""Tokens per batch, as a multiple of a training batch: without gradients only keys and values stay in memory."""


def continuations(
    context: EvalContext,
    prefixes: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    samples: int = 0,
    greedy: bool = False,
    seed: int = 0,
    budget: Budget | None = None,
) -> list[list[list[int]]]:
    """Continues prefixes with the context's model: for each prefix, lists of token ids, as `continue_prefixes`.

    A prefix that was not reached before the budget's time was up has an empty list. Raises what `context.check_stop`
    raises.
    """

    def without_limit() -> bool:
        context.check_stop()
        return False

    return continue_prefixes(
        context.model,
        context.tokenizer,
        prefixes,
        lengths,
        samples=samples,
        greedy=greedy,
        seed=seed,
        max_tokens=context.training.micro_batch_tokens * _WITHOUT_GRADIENTS,
        should_stop=without_limit if budget is None else budget.expired,
    )


def continue_prefixes(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefixes: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    samples: int = 0,
    greedy: bool = False,
    seed: int = 0,
    max_tokens: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[list[list[int]]]:
    """Generates at most `lengths[i]` tokens after `prefixes[i]`, up to the end of sequence, which is left out.

    With `samples` 0: one list, the most probable token at each position; else as many lists, drawn at temperature 1
    from the whole vocabulary. With `greedy` too, the most probable list comes before the samples. A draw depends on the
    seed (>= 0), the prefix and the sample's number alone. A prefix that does not fit in the model's context loses its
    beginning; after an empty prefix nothing is generated. A batch holds `max_tokens` tokens, rows counted at their
    longest. `should_stop` is asked before each batch; once it is true, the prefixes that are left have an empty list
    instead of continuations.
    """
    forward = Forward(model, autocast=measuring_precision(model))
    # a text that was cut to its end would be continued otherwise than transformers continues it
    context = int(context_length(model, sys.maxsize) * context_scaling(model.config))
    ends = end_tokens(model, tokenizer)
    counts = [min(count, context - 1) for count in lengths]
    kept = [list(ids)[-(context - count) :] for ids, count in zip(prefixes, counts, strict=True)]
    first = [np.zeros(max(counts, default=0))] if greedy and samples else []  # a greedy row uses no chance
    rows = max(1, samples + len(first))
    batches = plan_batches(forward, kept, counts, samples=rows, max_tokens=max_tokens)
    random.Random(seed).shuffle(batches)  # so that a lack of time does not leave out the short prefixes
    batches.reverse()

    def prompts(batch: list[int]) -> PromptBatch:
        longest = max(counts[index] for index in batch)
        draws = [
            row[:longest]
            for index in batch
            for row in [*first, *(_uniform([seed, number, *prefixes[index]], longest) for number in range(samples))]
        ]
        chances = torch.from_numpy(np.stack(draws)) if draws else None
        return PromptBatch([kept[index] for index in batch], [counts[index] for index in batch], chances, bool(first))

    written = generate_batches(forward, map(prompts, batches), ends=ends, should_stop=should_stop)
    continuations: list[list[list[int]]] = [[[] for _ in range(rows)] for _ in prefixes]
    for number, batch in enumerate(batches):
        for row, index in enumerate(batch):
            continuations[index] = written[number][row * rows : (row + 1) * rows] if number in written else []
    return continuations


def _uniform(seed: list[int], count: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(count)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a sequence: the tokenizer's, its chat template's and those of the model's configuration."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    named = configured if isinstance(configured, list) else [configured]
    tokens = [*named, tokenizer.eos_token_id, turn_end_token(tokenizer)]
    return frozenset(int(token) for token in tokens if token is not None)
