"""Statistics of a set's tokens in one pass: likelihood, memorization and membership figures are computed from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from core.lm.chunked_head import rows_per_slice, slices
from core.lm.data import Chunk
from core.lm.forward import Forward
from core.lm.memory import release_free_memory
from core.lm.model import stored_dtype
from core.lm.shared_prefix import shared_length, states_of_variants


@dataclass(frozen=True, eq=False)
class TokenStatistics:
    """A record's n scored tokens, in order."""

    log_probability: NDArray[np.float64]  # (n,) log p(x_t), in nats
    correct: NDArray[np.bool_]  # (n,) x_t is the most probable token
    mean: NDArray[np.float64]  # (n,) mean of log p under the vocabulary's own distribution
    deviation: NDArray[np.float64]  # (n,) standard deviation of the same

    def finite(self) -> bool:
        """Whether all log probabilities are numbers."""
        return bool(np.isfinite(self.log_probability).all() and np.isfinite(self.mean).all())


@torch.no_grad()
def token_statistics(
    model: PreTrainedModel,
    chunks: Sequence[Chunk],
    records: int,
    *,
    max_tokens: int,
    variants: Sequence[range] = (),
) -> list[TokenStatistics]:
    """Returns the statistics of records 0..records-1; a record's tokens are in the order of its chunks.

    `variants` are places of chunks, one of each record, that begin alike: their common prefix is read once where that
    saves time. Half-precision models on a GPU are run in their own precision, as they will be served; logits are
    float32.
    """
    forward = Forward(model, autocast=measuring_precision(model))
    parts: list[Tensor] = [torch.empty(0)] * len(chunks)
    rest = set(range(len(chunks)))
    for group in variants:
        members = [chunks[place] for place in group]
        length = shared_length(forward, members) if len(members) > 1 else 0
        if length:
            rest -= set(group)
            states = states_of_variants(forward, members, length, max_tokens)
            prefix = _head_statistics(forward, states.prefix, _scored_ids(members[0], 0, length + 1))
            targets = torch.cat([_scored_ids(chunk, length + 1, None) for chunk in members])
            table = _head_statistics(forward, torch.cat(states.rest), targets)
            counts = [len(rows) for rows in states.rest]
            for place, part in zip(group, torch.split(table, counts, dim=1), strict=True):
                parts[place] = torch.cat([prefix, part], dim=1)
    places = {id(chunks[place]): place for place in rest}
    for batch in forward.batches([chunks[place] for place in sorted(rest)], max_tokens):
        table = _head_statistics(forward, forward.hidden(batch), forward.targets(batch))
        counts = [int(chunk.scored.sum()) for chunk in batch]
        for chunk, part in zip(batch, torch.split(table, counts, dim=1), strict=True):
            parts[places[id(chunk)]] = part
    release_free_memory()
    record_parts: list[list[Tensor]] = [[] for _ in range(records)]
    for chunk, part in zip(chunks, parts, strict=True):
        record_parts[chunk.record].append(part)
    return [_joined(pieces) for pieces in record_parts]


def _head_statistics(forward: Forward, states: Tensor, targets: Tensor) -> Tensor:
    """Returns `_statistics` of states (N, H) and targets (N,), a slice of logits at a time: (4, N) on the CPU."""
    targets = targets.to(forward.device)
    cuts = slices(0, len(states), rows_per_slice(forward.vocabulary))
    pieces = [_statistics(forward.logits(states[cut]), targets[cut]).cpu() for cut in cuts]
    return torch.cat(pieces, dim=1) if pieces else torch.zeros(4, 0, dtype=torch.float64)


def _scored_ids(chunk: Chunk, start: int, stop: int | None) -> Tensor:
    return chunk.ids[start:stop][chunk.scored[start:stop]]


def measuring_precision(model: PreTrainedModel) -> torch.dtype | None:
    """Returns the autocast dtype of measurements; None: float32.

    A half-precision model is measured in its own dtype on a GPU, and wherever its weights are held in that dtype.
    """
    held: torch.dtype = model.dtype
    if held in (torch.bfloat16, torch.float16):
        return held
    stored = stored_dtype(model)
    on_gpu = next(model.parameters()).device.type == "cuda"
    return stored if on_gpu and stored in (torch.bfloat16, torch.float16) else None


def _statistics(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns log p of the target, whether it is the argmax, mean and deviation of log p under p.

    (N, V), (N,) -> (4, N) float64. Overwrites the logits: a slice of them is large, and no more than two tensors of its
    size are made beside it.
    """
    log_p, correct = torch.log_softmax(logits, dim=-1), logits.argmax(-1) == targets
    target = log_p.gather(1, targets[:, None])[:, 0]
    p = torch.exp(log_p, out=logits)
    mean = (p * log_p).sum(-1)
    # centred before squaring: the difference of two large means would lose the digits
    variance = log_p.sub_(mean[:, None]).square_().mul_(p).sum(-1)
    return torch.stack([target.double(), correct.double(), mean.double(), variance.double().sqrt()])


def _joined(pieces: list[Tensor]) -> TokenStatistics:
    table = torch.cat(pieces, dim=1).numpy() if pieces else np.zeros((4, 0))
    return TokenStatistics(table[0], table[1].astype(bool), table[2], table[3])
