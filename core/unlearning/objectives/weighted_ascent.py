"""Weighted gradient ascent: ascends on tokens by their present probability."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term


def weighted_ascent(losses: "Tensor", beta: float) -> "Tensor":
    """-p_t^β l_t, the weight without gradient: token losses (N,) -> (N,). WGA of the paper."""
    return -(-beta * losses.detach()).exp() * losses


class WeightedAscent(Method):
    name: ClassVar[str] = "weighted_ascent"
    summary: ClassVar[str] = (
        "Ascends on each token of the forget set by its present probability to the power of β, so that what is"
        " forgotten already is pushed no further."
    )
    formula: ClassVar[str] = "-mean_x (1/n) Σ_t p_t^β l_t, p_t^β without gradient"
    paper: ClassVar[Paper] = Paper(
        title="Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond",
        url="https://arxiv.org/abs/2502.19301",
    )
    large: ClassVar[Recipe] = TOFU

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta: float = Field(
        default=1.0, ge=0, le=1000, description="β: how soon the push on a token fades; 0: plain ascent"
    )

    def forget_term(self, context: "MethodContext") -> "Term":
        return lambda rows: weighted_ascent(rows.loss, self.beta)
