"""Token-wise NPO: ascends on each token by its probability relative to the reference model's."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


def token_preference(losses: "Tensor", reference: "Tensor", beta: float, alpha: float = 0.0) -> "Tensor":
    """-w_t l_t with w_t = 2 p^(β+α) / (p^β + p0^β), without gradient: token losses (N,), those of θ0 (N,) -> (N,).

    p^β / (p^β + p0^β) is σ(β (log p - log p0)), which neither over- nor underflows. With α = 0 the paper's TNPO,
    else its WTNPO.
    """
    import torch

    constant = losses.detach()
    weight = 2 * torch.sigmoid(beta * (reference - constant)) * torch.exp(-alpha * constant)
    return -weight * losses


class TokenNPO(Method):
    name: ClassVar[str] = "token_npo"
    summary: ClassVar[str] = (
        "Ascends on each token of the forget set, the weaker the further its own probability has fallen below the"
        " reference model's."
    )
    formula: ClassVar[str] = (
        "-mean_x (1/n) Σ_t w_t l_t, w_t = 2 p^β / (p^β + p0^β) without gradient; with `weighted`, p^(β+α) above"
    )
    paper: ClassVar[Paper] = Paper(
        title="Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond",
        url="https://arxiv.org/abs/2502.19301",
    )
    large: ClassVar[Recipe] = TOFU
    needs_original: ClassVar[bool] = True

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta: float = Field(default=4.0, gt=0, le=1000, description="β: how soon the push on a token fades")
    weighted: bool = Field(default=False, description="weigh each token by p^α besides (WTNPO)")
    alpha: float = Field(default=1.5, ge=0, le=1000, description="α, where `weighted`")

    def forget_term(self, context: "MethodContext") -> "Term":
        reference = context.losses(context.forget)  # (M,)
        alpha = self.alpha if self.weighted else 0.0

        def term(rows: "Rows") -> "Tensor":
            return token_preference(rows.loss, reference[rows.index], self.beta, alpha)

        return term
