"""Cross-entropy unlearning: trains the model towards its own distribution without the true token."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


def without_the_true_token(logits: "Tensor", targets: "Tensor") -> "Tensor":
    """log softmax(z with x_t's logit = -inf), without gradient: logits (N, V), targets (N,) -> (N, V).

    The true token gets -inf: probability exactly 0.
    """
    import torch

    return torch.log_softmax(logits.detach().scatter(1, targets[:, None], float("-inf")), dim=-1)


def skip_weights(record: "Tensor", skip: int) -> "Tensor":
    """The weight of each row where a record's first k = min(skip, n - 1) tokens are left out: (M,) -> (M,) float64.

    0 for the first k tokens and n / (n - k) for the rest: the mean over all n rows is then the mean over the rest. The
    last token of a record always counts, so that every record is forgotten.
    record (M,): the record number of each row, ascending from 0 without a gap.
    """
    import torch

    counts = torch.bincount(record)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(record), device=record.device) - first[record]
    left_out = (counts - 1).clamp(max=skip)[record]
    scale = counts[record].double() / (counts[record] - left_out)
    return torch.where(place >= left_out, scale, 0.0)


class CEU(Method):
    name: ClassVar[str] = "ce_u"
    summary: ClassVar[str] = (
        "Teaches the forget set's positions what the model itself would say there if the true token did not exist;"
        " needs no outputs of the reference model."
    )
    formula: ClassVar[str] = (
        "mean_x (1/(n-k)) Σ_{t>k} CE(softmax(z_t with x_t's logit = -inf, without gradient), z_t), z the logits"
    )
    paper: ClassVar[Paper] = Paper(title="CE-U: Cross Entropy Unlearning", url="https://arxiv.org/abs/2503.01224")
    large: ClassVar[Recipe] = TOFU

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    skip: int = Field(
        default=1, ge=0, le=1_000_000, description="k: scored tokens left out at a record's start, but never its last"
    )

    def forget_term(self, context: "MethodContext") -> "Term":
        from core.lm.losses import token_soft_nll

        weights = skip_weights(context.forget.record, self.skip)  # (M,)

        def term(rows: "Rows") -> "Tensor":
            values = token_soft_nll(without_the_true_token(rows.logits, rows.targets), rows.logits)
            return values * weights[rows.index].to(values.dtype)

        return term
