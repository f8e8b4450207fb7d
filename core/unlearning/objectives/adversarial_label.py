"""Adversarial labels: trains each forget token towards the reference model's most probable wrong token."""

from typing import TYPE_CHECKING, ClassVar

from core.unlearning.method import YAO_2024, Method, Paper

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


class AdversarialLabel(Method):
    name: ClassVar[str] = "adversarial_label"
    summary: ClassVar[str] = (
        "Descends on the forget set with each token replaced by the one that the reference model holds most probable"
        " after the true one."
    )
    formula: ClassVar[str] = "mean_x (1/n) Σ_t -log p(r_t | x_<t), r_t = argmax_{a ≠ x_t} p0(a | x_<t)"
    paper: ClassVar[Paper] = YAO_2024
    needs_original: ClassVar[bool] = True

    def forget_term(self, context: "MethodContext") -> "Term":
        from core.lm.losses import token_nll

        labels = context.runners_up(context.forget)  # (M,)

        def term(rows: "Rows") -> "Tensor":
            return token_nll(rows.logits, labels[rows.index])

        return term
