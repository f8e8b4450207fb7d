"""Primal-dual unlearning: the retain loss is a constraint, and its weight the multiplier that enforces it."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term
    from core.unlearning.tokenized_set import TokenizedSet


def logit_margin(logits: "Tensor") -> "Tensor":
    """(max_v z_v - mean_v z_v)² of each position: logits (N, V) -> (N,). Its minimum is 0: the uniform distribution."""
    return (logits.max(dim=-1).values - logits.mean(dim=-1)).square()


class LagrangeMultiplier:
    """λ, which grows while the retain loss is above ε and falls towards 0 while it is below.

    After every update past the warm-up of ceil(warmup * steps) updates, λ ← max(0, λ + η (retain - ε)) by that update's
    retain loss. The objective's constant -λε has no gradient.
    """

    def __init__(self, *, start: float, rate: float, bound: float, warmup: float) -> None:
        self._weight = start
        self._rate = rate
        self._bound = bound
        self._warmup = warmup

    def weight(self, step: int, steps: int) -> float:
        return self._weight

    def observe(self, step: int, steps: int, terms: Mapping[str, float]) -> None:
        if step >= math.ceil(self._warmup * steps):
            self._weight = max(0.0, self._weight + self._rate * (terms["retain"] - self._bound))

    def state(self) -> dict[str, float]:
        return {"weight": self._weight, "bound": self._bound}

    def restore(self, state: Mapping[str, float]) -> None:
        self._weight, self._bound = state["weight"], state["bound"]


class PDU(Method):
    name: ClassVar[str] = "pdu"
    summary: ClassVar[str] = (
        "Flattens the logits on the forget set as far as the retain loss allows: that loss is a constraint, whose"
        " weight rises while it is broken and falls while it holds."
    )
    formula: ClassVar[str] = (
        "mean_x (1/n) Σ_t (max_v z_t,v - mean_v z_t,v)² + λ (retain - ε), z the logits; after each update"
        " λ ← max(0, λ + η (retain - ε))"
    )
    paper: ClassVar[Paper] = Paper(
        title="Constrained Entropic Unlearning: A Primal-Dual Framework for Large Language Models",
        url="https://arxiv.org/abs/2506.05314",
    )
    large: ClassVar[Recipe] = TOFU
    needs_original: ClassVar[bool] = True

    retain_term: Literal["descent"] = Field(default="descent", description="descend on the retain set")
    retain_weight: float = Field(default=1.0, gt=0, le=1e6, description="the factor on λ")
    dual_start: float = Field(default=1.0, ge=0, le=1e6, description="λ0: λ until the warm-up is over")
    dual_rate: float = Field(default=1.0, ge=0, le=1e6, description="η: how fast λ follows the retain loss; 0: never")
    dual_warmup: float = Field(default=0.1, ge=0, le=1, description="share of the updates before λ first changes")
    retain_bound: float | None = Field(
        default=None,
        ge=0,
        le=1000,
        description="ε, in nats: the allowed retain loss; default: the reference model's plus `retain_slack`",
    )
    retain_slack: float = Field(
        default=0.1, ge=0, le=1000, description="how far ε lies above the reference model's loss, in nats"
    )

    def weight_controller(
        self, context: "MethodContext", retain: "list[tuple[TokenizedSet, float]]"
    ) -> LagrangeMultiplier:
        bound = self.retain_bound
        if bound is None:
            shares = (
                share * (context.losses(tokenized) * tokenized.row_weight).sum().item() / len(tokenized)
                for tokenized, share in retain
            )
            bound = sum(shares) + self.retain_slack
        return LagrangeMultiplier(start=self.dual_start, rate=self.dual_rate, bound=bound, warmup=self.dual_warmup)

    def forget_term(self, context: "MethodContext") -> "Term":
        return lambda rows: logit_margin(rows.logits)
