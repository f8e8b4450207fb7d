"""Gradient ascent on the forget set, without a bound."""

from typing import TYPE_CHECKING, ClassVar

from core.unlearning.method import YAO_2024, Method, Paper

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


def ascent(rows: "Rows") -> "Tensor":
    """-l_t of each token, (N,): its mean over tokens and records is -mean_x CE(x). Section 3.2 of the paper."""
    return -rows.loss


class GradientAscent(Method):
    name: ClassVar[str] = "gradient_ascent"
    summary: ClassVar[str] = (
        "Ascends on the loss of the forget set. Nothing stops it: it overshoots, and damages the rest."
    )
    formula: ClassVar[str] = "-mean_x (1/n) Σ_t l_t"
    paper: ClassVar[Paper] = YAO_2024

    def forget_term(self, context: "MethodContext") -> "Term":
        return ascent
