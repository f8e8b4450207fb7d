"""Compares the core's figures of a model with those of plain transformers, which runs one record at a time."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.generation.continuation import continue_prefixes
from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.losses import token_nll
from core.lm.model import context_length
from tests.architectures import texts
from tests.architectures.sizes import CONTEXT

LOG_PROBABILITY = 1e-4
"""The largest difference, in nats a token, that rounding explains in float64; parts of models compute in float32."""
GRADIENT = 1e-4
"""The largest difference of gradients that rounding explains, as a share of the largest gradient."""
MICRO_BATCHES = (100_000, 64, 1)
"""Tokens of a micro-batch: all records, a few, one."""


def log_probabilities(model: PreTrainedModel, chunks: Sequence[Chunk]) -> Tensor:
    """Returns plain transformers' log-probabilities of the scored tokens: (N,)."""
    pieces = []
    for chunk in chunks:
        logits = plain_logits(model, chunk.ids[None])[0]
        pieces.append(-token_nll(logits[:-1], chunk.ids[1:])[chunk.scored[1:]])
    return torch.cat(pieces)


def plain_logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """Returns the logits (B, T, V) of a whole forward without a cache.

    Rotary positions that were stretched for a longer text are reset by a short text first.
    """
    if "dynamic" in repr(getattr(model.config, "rope_parameters", None)):
        with torch.no_grad():
            model(input_ids=ids[:, :2], use_cache=False)
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


def log_probability_difference(forward: Forward, expected: Tensor, chunks: Sequence[Chunk]) -> float:
    """Returns the largest difference over all micro-batch sizes; `expected` (N,) is that of `log_probabilities`."""
    worst = 0.0
    for tokens in MICRO_BATCHES:
        by_record: dict[int, Tensor] = {}
        with torch.no_grad():
            for batch in forward.batches(chunks, tokens):
                losses = forward.losses(forward.hidden(batch), forward.targets(batch))
                counts = [int(chunk.scored.sum()) for chunk in batch]
                for chunk, part in zip(batch, torch.split(-losses, counts), strict=True):
                    by_record[chunk.record] = part
        actual = torch.cat([by_record[chunk.record] for chunk in chunks])
        worst = max(worst, _largest(actual - expected))
    return worst


def gradient_difference(forward: Forward, reference: PreTrainedModel, chunks: Sequence[Chunk]) -> float:
    """Returns the largest difference of the mean loss's gradients, as a share of the largest gradient.

    It is the largest over all weights and micro-batch sizes; the mean is over all scored tokens.
    """
    count = sum(int(chunk.scored.sum()) for chunk in chunks)
    with _trainable(reference):
        (-log_probabilities(reference, chunks).sum() / count).backward()
        expected = _gradients(reference)
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    worst = 0.0
    for tokens in MICRO_BATCHES[:2]:
        with _trainable(forward.model):
            for batch in forward.batches(chunks, tokens):
                logits = forward.logits(forward.hidden(batch))
                (token_nll(logits, forward.targets(batch)).sum() / count).backward()
            actual = _gradients(forward.model)
        for name in expected.keys() | actual.keys():
            gradient = expected.get(name, torch.zeros(()))  # a weight that the loss does not reach has none
            worst = max(worst, _largest(actual.get(name, torch.zeros(())) - gradient) / scale)
    return worst


@contextlib.contextmanager
def _trainable(model: PreTrainedModel) -> Iterator[None]:
    for weight in model.parameters():
        weight.requires_grad_(weight.is_floating_point())
    try:
        yield
    finally:
        for weight in model.parameters():
            weight.grad = None
        model.requires_grad_(False)


def _gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def _largest(difference: Tensor) -> float:
    """Returns the largest absolute value; infinite for NaN."""
    worst = float(difference.abs().max())
    return worst if worst == worst else float("inf")


def expected_continuations(reference: PreTrainedModel) -> tuple[list[list[list[int]]], list[str]]:
    """Returns plain transformers' continuations of each prompt, and notes.

    There are two for each prompt: that of `generate`, and the greedy one by whole forwards. Where they differ, which is
    noted, the core may give either.
    """
    prompts = _prompts(reference)
    greedy = [_greedily(reference, prompt) for prompt in prompts]
    notes = []
    try:
        generated = [_generate(reference, prompt) for prompt in prompts]
    except Exception as error:  # noqa: BLE001 - plain transformers cannot: then there is nothing to compare with
        notes.append(f"generate itself fails ({type(error).__name__})")
        generated = greedy
    if generated != greedy:
        differ = sum(left != right for left, right in zip(generated, greedy, strict=True))
        notes.append(f"generate continues {differ} of {len(prompts)} otherwise than the model's own whole forward")
    return [list(pair) for pair in zip(greedy, generated, strict=True)], notes


def _prompts(model: PreTrainedModel) -> list[list[int]]:
    """Returns the prompts, cut on their left to leave room in the model's context, as the core cuts them."""
    room = context_length(model, CONTEXT) - texts.NEW_TOKENS
    return [prompt[-room:] for prompt in texts.prompts()]


def count_other_continuations(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, allowed: Sequence[Sequence[list[int]]]
) -> int:
    """Returns how many prompts the core continues otherwise than `allowed`."""
    prompts = _prompts(model)
    counts = [texts.NEW_TOKENS] * len(prompts)
    actual = [rows[0] for rows in continue_prefixes(model, tokenizer, prompts, counts, max_tokens=256)]
    return sum(tokens not in pair for tokens, pair in zip(actual, allowed, strict=True))


@torch.no_grad()
def _greedily(model: PreTrainedModel, prompt: Sequence[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(texts.NEW_TOKENS):
        token = int(plain_logits(model, torch.tensor([ids]))[0, -1].argmax())
        if token == texts.END:
            break
        ids.append(token)
    return ids[len(prompt) :]


@torch.no_grad()
def _generate(model: PreTrainedModel, prompt: Sequence[int]) -> list[int]:
    ids = torch.tensor([prompt])
    rows = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=texts.NEW_TOKENS,
        do_sample=False,
        num_beams=1,
        eos_token_id=texts.END,
        pad_token_id=texts.PADDING,
        repetition_penalty=1.0,
    )
    tokens: list[int] = rows[0, len(prompt) :].tolist()
    return tokens[: tokens.index(texts.END)] if texts.END in tokens else tokens


@torch.no_grad()
def lookahead_change(model: PreTrainedModel) -> float:
    """Returns the largest change of a logit by a later token: 0 for a causal model."""
    tokens = torch.tensor([texts.ids(24, 7)])
    changed = tokens.clone()
    changed[0, 14:] = torch.tensor(texts.ids(10, 8))
    return _largest((plain_logits(model, tokens) - plain_logits(model, changed))[0, :14])


def layout_name(forward: Forward, chunks: Sequence[Chunk]) -> str:
    """Names the layout in which the core runs the model."""
    if all(len(batch) == 1 for batch in forward.batches(chunks, 100_000)):
        return "one record at a time"
    return "packed" if forward.packed else "padded"
