"""Retain terms: losses that keep the model's behaviour on text that must survive."""

from torch import Tensor

from core.lm.losses import token_kl
from core.lm.reference_outputs import ReferenceOutputs
from core.lm.row_store import RowStore
from core.unlearning.objective import Rows, Term


def descent(rows: Rows) -> Tensor:
    """l_t of each token, (N,): its mean over tokens and records is mean_z CE(z)."""
    return rows.loss


def kl(reference: ReferenceOutputs) -> Term:
    """KL(p_θ0(. | z_<t) || p(. | z_<t)) at each scored position, (N,); `reference` is of the same set."""
    return lambda rows: token_kl(reference.log_probabilities(rows.index), rows.logits)


def hidden(states: RowStore) -> Term:
    """||h(z) - h_θ0(z)||^2 / d at each scored position, (N,).

    `states` (M, d) are the reference model's, of the same set and layer."""
    return lambda rows: (rows.states - states.rows(rows.index.cpu()).to(rows.states)).square().mean(-1)
