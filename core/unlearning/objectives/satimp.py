"""Saturation and importance: ascends on tokens the more the better they are known, but not on perfectly known ones."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term


def saturation_importance(losses: "Tensor", beta1: float, beta2: float) -> "Tensor":
    """-p_t^β1 (1 - p_t)^β2 l_t, the weight without gradient: token losses (N,) -> (N,). SatImp of the paper."""
    import torch

    constant = losses.detach()
    # 1 - p without loss of digits near p = 1; a loss rounded below 0 must not become the root of a negative number
    unknown = -torch.expm1(-constant.clamp(min=0))
    return -torch.exp(-beta1 * constant) * unknown**beta2 * losses


class SatImp(Method):
    name: ClassVar[str] = "satimp"
    summary: ClassVar[str] = (
        "Ascends on each token of the forget set by a weight that falls as the token is forgotten (saturation) and is"
        " small for tokens that follow from their context anyway (importance)."
    )
    formula: ClassVar[str] = "-mean_x (1/n) Σ_t p_t^β1 (1 - p_t)^β2 l_t, the weight without gradient"
    paper: ClassVar[Paper] = Paper(
        title="Exploring Criteria of Loss Reweighting to Enhance LLM Unlearning",
        url="https://arxiv.org/abs/2505.11953",
    )
    large: ClassVar[Recipe] = TOFU

    forget_weight: float = Field(default=0.1, ge=0, le=1e6, description="the factor on the forget term")
    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta1: float = Field(default=5.0, ge=0, le=1000, description="β1, saturation: how soon the push on a token fades")
    beta2: float = Field(default=1.0, ge=0, le=1000, description="β2, importance: how little certain tokens count")

    def forget_term(self, context: "MethodContext") -> "Term":
        return lambda rows: saturation_importance(rows.loss, self.beta1, self.beta2)
