"""Token losses and their means: tensors in, tensor out, computed in at least float32 whatever the logits' dtype."""

import torch
from torch import Tensor
from torch.nn import functional

_NEVER = -1e4
"""A logit so low that its probability is 0. Differences of infinite ones are no numbers."""


def at_least_float32(values: Tensor) -> Tensor:
    """Converts half precision to float32; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def token_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p(target): logits (N, V), targets (N,) -> (N,), in nats."""
    return functional.cross_entropy(at_least_float32(logits), targets, reduction="none")


def token_entropy(logits: Tensor) -> Tensor:
    """-sum_v p(v) log p(v): logits (N, V) -> (N,), in nats."""
    log_p = torch.log_softmax(at_least_float32(logits), dim=-1)
    return -(log_p.exp() * log_p).sum(-1)


def token_soft_nll(target_log_probabilities: Tensor, logits: Tensor) -> Tensor:
    """-sum_v q(v) log p(v), the cross-entropy to a soft target q: both (N, V) -> (N,), in nats."""
    q = at_least_float32(target_log_probabilities).exp()
    return -(q * torch.log_softmax(at_least_float32(logits), dim=-1)).sum(-1)


def token_kl(reference_log_probabilities: Tensor, logits: Tensor) -> Tensor:
    """KL(p_reference || p) = sum_v p_ref (log p_ref - log p): both (N, V) -> (N,), in nats; 0 for p_ref = p."""
    reference = at_least_float32(reference_log_probabilities)
    return (reference.exp() * (reference - torch.log_softmax(at_least_float32(logits), dim=-1))).sum(-1)


def other_tokens_kl(
    reference_log_probabilities: Tensor, logits: Tensor, targets: Tensor, *, power: float = 1.0
) -> Tensor:
    """KL(q || p) among the tokens other than the target, where q is p_reference to the `power`, and q and p are
    distributions of their own: (N, V), (N, V), (N,) -> (N,), in nats.

    Whatever the target's probability is, the value is 0 where the others keep the proportions of q.
    """
    log_q, log_p = (
        torch.log_softmax(at_least_float32(values).scatter(1, targets[:, None], _NEVER), dim=-1)
        for values in (power * reference_log_probabilities, logits)
    )
    return (log_q.exp() * (log_q - log_p)).sum(-1)


def per_record_mean(values: Tensor, record: Tensor, records: int) -> Tensor:
    """Mean of each record's values: values (N,), record (N,) in [0, records) -> (records,); 0 without a value."""
    totals = torch.zeros(records, dtype=values.dtype, device=values.device).index_add(0, record, values)
    counts = torch.bincount(record, minlength=records).clamp(min=1)
    return totals / counts.to(values.dtype)


def record_sums(values: Tensor, record: Tensor) -> Tensor:
    """Sum of the values of a row's record, at each row: values (N,), record (N,) of any numbering -> (N,)."""
    _, place = torch.unique(record, return_inverse=True)
    totals = torch.zeros(len(values), dtype=values.dtype, device=values.device).index_add(0, place, values)
    return totals[place]
