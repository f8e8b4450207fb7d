"""What a model says after token ids, many rows at a time: greedily, or sampled at temperature 1.

A row gets what it would get by itself, whatever it is written together with: rows are filled up on their left and the
filling is masked, which is tried on a few tokens first; where a model does not bear it, rows of one length go together,
and a row whose own length chooses its rotary factors goes alone.
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
"""How many times the tokens of a training's forward are held at a time: keys and values alone stay in memory."""


def continuations(
    context: EvalContext,
    prefixes: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    samples: int = 0,
    seed: int = 0,
    budget: Budget | None = None,
) -> list[list[list[int]]]:
    """`continued` of the context's model: as many lists as prefixes, of `samples` (greedy: one) lists of token ids.

    An empty list stands for a prefix that was not reached before the budget's time was up. Raises what a wish to stop
    raises.
    """

    def never() -> bool:
        context.check_stop()
        return False

    return continued(
        context.model,
        context.tokenizer,
        prefixes,
        lengths,
        samples=samples,
        seed=seed,
        max_tokens=context.training.micro_batch_tokens * _WITHOUT_GRADIENTS,
        over=never if budget is None else budget.expired,
    )


def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefixes: Sequence[Sequence[int]],
    lengths: Sequence[int],
    *,
    samples: int = 0,
    seed: int = 0,
    max_tokens: int,
    over: Callable[[], bool] = lambda: False,
) -> list[list[list[int]]]:
    """At most `lengths[i]` tokens after `prefixes[i]`, up to the end of sequence, which is not among them.

    `samples` 0: one list, the most probable token at each place; else so many lists, drawn at temperature 1 from all
    of the vocabulary. A draw depends on the seed (>= 0), the prefix and the sample's number alone. What does not fit
    in the model's context is cut from the prefix's left; after an empty prefix nothing is said. Rows are written
    `max_tokens` at a time, the longest possible counted; `over` is asked before each time, and once it says yes, what
    is left has an empty list instead of its continuations.
    """
    forward = Forward(model, autocast=measuring_precision(model))
    # a text that was cut to its end would be continued otherwise than transformers continues it
    context = int(context_length(model, sys.maxsize) * context_scaling(model.config))
    ends = end_tokens(model, tokenizer)
    counts = [min(count, context - 1) for count in lengths]
    kept = [list(ids)[-(context - count) :] for ids, count in zip(prefixes, counts, strict=True)]
    rows = max(1, samples)
    batches = plan_batches(forward, kept, counts, samples=rows, max_tokens=max_tokens)
    random.Random(seed).shuffle(batches)  # what is left out for lack of time should not be the short ones
    batches.reverse()

    def prompts(batch: list[int]) -> PromptBatch:
        longest = max(counts[place] for place in batch)
        drawn = [_chances([seed, number, *prefixes[place]], longest) for place in batch for number in range(samples)]
        chances = torch.from_numpy(np.stack(drawn)) if drawn else None
        return PromptBatch([kept[place] for place in batch], [counts[place] for place in batch], chances)

    written = generate_batches(forward, map(prompts, batches), ends=ends, should_stop=over)
    continuations: list[list[list[int]]] = [[[] for _ in range(rows)] for _ in prefixes]
    for number, batch in enumerate(batches):
        for at, place in enumerate(batch):
            continuations[place] = written[number][at * rows : (at + 1) * rows] if number in written else []
    return continuations


def _chances(seed: list[int], count: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).random(count)


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a sequence: the tokenizer's, its chat template's, and those that the model's configuration
    names."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    named = configured if isinstance(configured, list) else [configured]
    return frozenset(int(one) for one in [*named, tokenizer.eos_token_id, turn_end_token(tokenizer)] if one is not None)
