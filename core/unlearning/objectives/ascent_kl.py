"""Gradient ascent on the forget set, with KL to the reference model on the retain set."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.unlearning.method import YAO_2024, Method, Paper
from core.unlearning.objectives.gradient_ascent import ascent

if TYPE_CHECKING:
    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term


class AscentKL(Method):
    name: ClassVar[str] = "ascent_kl"
    summary: ClassVar[str] = (
        "Ascends on the forget set and keeps the reference model's next-token distribution on the retain set (KL),"
        " which is in-distribution or general text, or both."
    )
    formula: ClassVar[str] = "-mean_x (1/n) Σ_t l_t"
    paper: ClassVar[Paper] = YAO_2024

    retain_term: Literal["kl"] = Field(default="kl", description="KL(original || model) on the retain set")

    def forget_term(self, context: "MethodContext") -> "Term":
        return ascent
