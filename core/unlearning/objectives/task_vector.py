"""Task arithmetic: fine-tunes on the forget set, then moves the weights the opposite way."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.unlearning.method import LARGE, SMALL, Method, Paper, Recipe

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term

_EPOCHS = {"epochs": 5}


class TaskVector(Method):
    name: ClassVar[str] = "task_vector"
    summary: ClassVar[str] = (
        "Fine-tunes a copy of the model on the forget set and moves the weights the opposite way. The curves show the"
        " copy, whose forget loss falls."
    )
    formula: ClassVar[str] = "θ0 - α (θ_F - θ0), θ_F = θ0 trained by mean_x (1/n) Σ_t l_t"
    paper: ClassVar[Paper] = Paper(title="Editing Models with Task Arithmetic", url="https://arxiv.org/abs/2212.04089")
    tunable: ClassVar[bool] = False
    small: ClassVar[Recipe] = SMALL.model_copy(update=_EPOCHS)
    large: ClassVar[Recipe] = LARGE.model_copy(update={**_EPOCHS, "learning_rate": 1e-5, "records_per_step": 32})

    retain_term: Literal["none"] = Field(
        default="none", description="none: whatever the copy learnt of the retain set would be subtracted, too"
    )
    alpha: float = Field(default=1.0, gt=0, le=100, description="α: how far the weights move")

    def forget_term(self, context: "MethodContext") -> "Term":
        return lambda rows: rows.loss

    def final_weight(self, trained: "Tensor", original: "Tensor") -> "Tensor":
        return original - self.alpha * (trained - original)
