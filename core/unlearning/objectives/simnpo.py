"""Simple negative preference optimisation: NPO by a record's mean loss, without the reference model."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.unlearning.method import TOFU, Method, Paper, Recipe, RetainTerm

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term


def simple_negative_preference(losses: "Tensor", record: "Tensor", beta: float, delta: float) -> "Tensor":
    """-(2/β) log σ(β (NLL(x)/n - δ)) of its record, at each row: token losses (N,), all of a record -> (N,).

    SimNPO of the paper, whose margin γ stands outside of β: γ = βδ. A record's value is the mean over its rows.
    """
    import torch
    from torch.nn.functional import logsigmoid

    from core.lm.losses import record_sums

    mean = record_sums(losses, record) / record_sums(torch.ones_like(losses), record)
    return -2 / beta * logsigmoid(beta * (mean - delta))


class SimNPO(Method):
    name: ClassVar[str] = "simnpo"
    summary: ClassVar[str] = (
        "Ascends on each forget record, the weaker the higher its mean token loss already is; needs no outputs of the"
        " reference model, and long records weigh no more than short ones."
    )
    formula: ClassVar[str] = "-(2/β) mean_x log σ(β ((1/n) Σ_t l_t - δ))"
    paper: ClassVar[Paper] = Paper(
        title="Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning",
        url="https://arxiv.org/abs/2410.07163",
    )
    large: ClassVar[Recipe] = TOFU
    whole_records: ClassVar[bool] = True

    forget_weight: float = Field(default=0.125, ge=0, le=1e6, description="the factor on the forget term")
    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta: float = Field(default=4.5, gt=0, le=1000, description="β: how sharply the push fades")
    delta: float = Field(
        default=0.0, ge=-1000, le=1000, description="δ, in nats per token: the mean loss about which the push fades"
    )

    def forget_term(self, context: "MethodContext") -> "Term":
        return lambda rows: simple_negative_preference(rows.loss, rows.record, self.beta, self.delta)
