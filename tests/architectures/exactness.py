"""The core's figures of a model against those of plain transformers, which runs one record at a time."""

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
"""The largest difference, in nats a token, that rounding explains: float64, but for what models compute in float32."""
GRADIENT = 1e-4
"""The same of gradients, as a share of the largest."""
MICRO_BATCHES = (100_000, 64, 1)
"""Tokens of a micro-batch: all together, a few, one by one."""


def log_probabilities(model: PreTrainedModel, chunks: Sequence[Chunk]) -> Tensor:
    """Plain transformers' own, of the scored tokens: (N,)."""
    found = []
    for chunk in chunks:
        logits = plain(model, chunk.ids[None])[0]
        found.append(-token_nll(logits[:-1], chunk.ids[1:])[chunk.scored[1:]])
    return torch.cat(found)


def plain(model: PreTrainedModel, ids: Tensor) -> Tensor:
    """The logits (B, T, V) of a whole forward that keeps nothing, and that nothing was kept for: rotary positions that
    were stretched for a longer text are put back by a short one first."""
    if "dynamic" in repr(getattr(model.config, "rope_parameters", None)):
        with torch.no_grad():
            model(input_ids=ids[:, :2], use_cache=False)
    logits: Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


def log_probability_difference(forward: Forward, wanted: Tensor, chunks: Sequence[Chunk]) -> float:
    """The largest over all micro-batch sizes: wanted (N,) as `log_probabilities` gives it."""
    worst = 0.0
    for tokens in MICRO_BATCHES:
        found: dict[int, Tensor] = {}
        with torch.no_grad():
            for batch in forward.batches(chunks, tokens):
                losses = forward.losses(forward.hidden(batch), forward.targets(batch))
                counts = [int(chunk.scored.sum()) for chunk in batch]
                for chunk, part in zip(batch, torch.split(-losses, counts), strict=True):
                    found[chunk.record] = part
        together = torch.cat([found[chunk.record] for chunk in chunks])
        worst = max(worst, _largest(together - wanted))
    return worst


def gradient_difference(forward: Forward, reference: PreTrainedModel, chunks: Sequence[Chunk]) -> float:
    """The largest over all weights and micro-batch sizes, of the mean loss of all scored tokens, as a share of the
    largest gradient."""
    count = sum(int(chunk.scored.sum()) for chunk in chunks)
    with _trainable(reference):
        (-log_probabilities(reference, chunks).sum() / count).backward()
        wanted = _gradients(reference)
    scale = max(float(slope.abs().max()) for slope in wanted.values())
    worst = 0.0
    for tokens in MICRO_BATCHES[:2]:
        with _trainable(forward.model):
            for batch in forward.batches(chunks, tokens):
                logits = forward.logits(forward.hidden(batch))
                (token_nll(logits, forward.targets(batch)).sum() / count).backward()
            found = _gradients(forward.model)
        for name in wanted.keys() | found.keys():
            slope = wanted.get(name, torch.zeros(()))  # a weight that nothing reaches has none
            worst = max(worst, _largest(found.get(name, torch.zeros(())) - slope) / scale)
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
    """Infinite where there is no number."""
    worst = float(difference.abs().max())
    return worst if worst == worst else float("inf")


def continuations(reference: PreTrainedModel) -> tuple[list[list[list[int]]], list[str]]:
    """What plain transformers says after each prompt: what `generate` does, and what the whole forward says greedily.

    Where these two differ, which is noted, either will do.
    """
    prompts = _prompts(reference)
    wanted = [_greedily(reference, prompt) for prompt in prompts]
    notes = []
    try:
        generated = [_generated(reference, prompt) for prompt in prompts]
    except Exception as error:  # noqa: BLE001 - plain transformers cannot: then there is nothing to compare with
        notes.append(f"generate itself fails ({type(error).__name__})")
        generated = wanted
    if generated != wanted:
        differ = sum(one != other for one, other in zip(generated, wanted, strict=True))
        notes.append(f"generate continues {differ} of {len(prompts)} otherwise than the model's own whole forward")
    return [list(pair) for pair in zip(wanted, generated, strict=True)], notes


def _prompts(model: PreTrainedModel) -> list[list[int]]:
    """Cut on their left to what leaves room in the model's context, as the core does."""
    room = context_length(model, CONTEXT) - texts.NEW_TOKENS
    return [prompt[-room:] for prompt in texts.prompts()]


def continued_otherwise(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, allowed: Sequence[Sequence[list[int]]]
) -> int:
    """How many prompts the core continues otherwise."""
    prompts = _prompts(model)
    counts = [texts.NEW_TOKENS] * len(prompts)
    said = [rows[0] for rows in continue_prefixes(model, tokenizer, prompts, counts, max_tokens=256)]
    return sum(row not in pair for row, pair in zip(said, allowed, strict=True))


@torch.no_grad()
def _greedily(model: PreTrainedModel, prompt: Sequence[int]) -> list[int]:
    ids = list(prompt)
    for _ in range(texts.NEW_TOKENS):
        token = int(plain(model, torch.tensor([ids]))[0, -1].argmax())
        if token == texts.END:
            break
        ids.append(token)
    return ids[len(prompt) :]


@torch.no_grad()
def _generated(model: PreTrainedModel, prompt: Sequence[int]) -> list[int]:
    ids = torch.tensor([prompt])
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=texts.NEW_TOKENS,
        do_sample=False,
        num_beams=1,
        eos_token_id=texts.END,
        pad_token_id=texts.PADDING,
        repetition_penalty=1.0,
    )
    said: list[int] = made[0, len(prompt) :].tolist()
    return said[: said.index(texts.END)] if texts.END in said else said


@torch.no_grad()
def looks_ahead(model: PreTrainedModel) -> float:
    """The largest change of a logit by a token behind it: 0 of a causal model."""
    tokens = torch.tensor([texts.ids(24, 7)])
    other = tokens.clone()
    other[0, 14:] = torch.tensor(texts.ids(10, 8))
    return _largest((plain(model, tokens) - plain(model, other))[0, :14])


def how(forward: Forward, chunks: Sequence[Chunk]) -> str:
    """How the core runs the model."""
    if all(len(batch) == 1 for batch in forward.batches(chunks, 100_000)):
        return "one record at a time"
    return "packed" if forward.packed else "padded"
