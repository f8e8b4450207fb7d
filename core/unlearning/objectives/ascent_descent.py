"""Gradient ascent on the forget set and descent on the retain set."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.unlearning.method import YAO_2024, Method, Paper
from core.unlearning.objectives.gradient_ascent import ascent

if TYPE_CHECKING:
    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term


class AscentDescent(Method):
    name: ClassVar[str] = "ascent_descent"
    summary: ClassVar[str] = (
        "Ascends on the forget set and descends on the retain set, which is in-distribution or general text, or both."
    )
    formula: ClassVar[str] = "-mean_x (1/n) Σ_t l_t"
    paper: ClassVar[Paper] = YAO_2024

    retain_term: Literal["descent"] = Field(default="descent", description="descend on the retain set")

    def forget_term(self, context: "MethodContext") -> "Term":
        return ascent
