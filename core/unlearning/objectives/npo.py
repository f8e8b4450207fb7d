"""Negative preference optimisation: ascent that fades as a record's probability falls below the reference model's."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term


def negative_preference(losses: "Tensor", reference: "Tensor", record: "Tensor", beta: float) -> "Tensor":
    """-(2/β) log σ(β (NLL(x) - NLL0(x))) of its record, at each row: token losses (N,), those of θ0 (N,) -> (N,).

    All rows of a record are present, and their mean is the record's value. As β goes to 0, its gradient becomes that of
    ascent on NLL (not on CE: long records weigh more, as in the paper).
    """
    from torch.nn.functional import logsigmoid

    from core.lm.losses import record_sums

    # sums the differences: subtracting two large sums would lose the digits that tell them apart
    return -2 / beta * logsigmoid(beta * record_sums(losses - reference, record))


class NPO(Method):
    name: ClassVar[str] = "npo"
    summary: ClassVar[str] = (
        "Ascends on each forget record as on the rejected half of a preference: the further its probability has fallen"
        " below the reference model's, the weaker the push."
    )
    formula: ClassVar[str] = "-(2/β) mean_x log σ(β (NLL(x) - NLL0(x))), NLL(x) = Σ_t l_t"
    paper: ClassVar[Paper] = Paper(
        title="Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning",
        url="https://arxiv.org/abs/2404.05868",
    )
    large: ClassVar[Recipe] = TOFU
    needs_original: ClassVar[bool] = True
    whole_records: ClassVar[bool] = True

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta: float = Field(default=0.1, gt=0, le=1000, description="β: how soon the push fades; towards 0: plain ascent")

    def forget_term(self, context: "MethodContext") -> "Term":
        reference = context.losses(context.forget)  # (M,)
        return lambda rows: negative_preference(rows.loss, reference[rows.index], rows.record, self.beta)
