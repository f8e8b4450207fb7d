"""Self-distillation with adjusted logits: the reference model's distribution, with the true token's logit lowered."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


def suppressed(logits: "Tensor", targets: "Tensor", beta: float) -> "Tensor":
    """log softmax(z - β onehot(x_t)): logits z, or log p, (N, V), targets (N,) -> (N, V)."""
    import torch

    penalty = torch.full_like(targets, -beta, dtype=logits.dtype)[:, None]  # (N, 1)
    return torch.log_softmax(logits.scatter_add(1, targets[:, None], penalty), dim=-1)


class Undial(Method):
    name: ClassVar[str] = "undial"
    summary: ClassVar[str] = (
        "Teaches the forget set's positions the reference model's own distribution with the true token's logit lowered:"
        " a target that stands still, so that nothing runs away."
    )
    formula: ClassVar[str] = "mean_x (1/n) Σ_t CE(softmax(z0_t - β onehot(x_t)), z_t), z the logits, z0 the original's"
    paper: ClassVar[Paper] = Paper(
        title="UNDIAL: Self-Distillation with Adjusted Logits for Robust Unlearning in Large Language Models",
        url="https://arxiv.org/abs/2402.10052",
    )
    large: ClassVar[Recipe] = TOFU.model_copy(update={"learning_rate": 1e-4})
    needs_original: ClassVar[bool] = True

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta: float = Field(default=10.0, gt=0, le=1000, description="β: by how much the true token's logit is lowered")

    def forget_term(self, context: "MethodContext") -> "Term":
        from core.lm.losses import token_soft_nll

        reference = context.reference(context.forget)

        def term(rows: "Rows") -> "Tensor":
            target = suppressed(reference.log_probabilities(rows.index), rows.targets, self.beta)
            return token_soft_nll(target, rows.logits)

        return term
