"""Direct preference optimisation: prefers an alternate answer to the answer that must be forgotten."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.lm.errors import CoreError
from core.schema.record import Record
from core.unlearning.method import TOFU, AnswerGenerator, Method, Paper, Recipe, RetainTerm
from core.unlearning.refusals import REFUSALS, draw_refusals, spaced_like_answer

if TYPE_CHECKING:
    from torch import Tensor

    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Rows, Term


def preference(losses: "Tensor", reference: "Tensor", alternate: "Tensor", record: "Tensor", beta: float) -> "Tensor":
    """-(2/β) log σ(β [(log p - log p0)(alternate) - (log p - log p0)(record)]) of its record, at each row.

    Token losses (N,), the reference model's (N,), alternate (N,) bool: the row is of the alternate -> (N,). All rows of
    both texts of a record are present, so that the mean over them is the record's value, whatever their lengths.
    Equation 7 of arXiv 2305.18290 times 2/β, as NPO has it, so that β does not change the size of the first update.
    """
    import torch
    from torch.nn.functional import logsigmoid

    from core.lm.losses import record_sums

    log_ratio = reference - losses  # log p - log p0
    return -2 / beta * logsigmoid(beta * record_sums(torch.where(alternate, log_ratio, -log_ratio), record))


def ask_for_alternate(record: Record) -> Record:
    """The record whose prompt makes the reference model write another answer.

    A conversation asks for one in its last user turn (after arXiv 2409.13474). A plain prompt stays as it is: a model
    without instruction tuning simply continues it.
    """
    if not record.is_conversation:
        return record
    question = f"{record.question}\n\n" if record.question else ""
    question += f"The answer so far: {record.scored_text}\n\nGive another one, as plausible, but with other facts."
    return record.with_question(question)


class DPO(Method):
    name: ClassVar[str] = "dpo"
    summary: ClassVar[str] = (
        "Prefers an alternate answer to each forget record: one that comes with the record, a refusal, or one that the"
        " reference model writes itself."
    )
    formula: ClassVar[str] = (
        "-(2/β) mean_x log σ(β [(log p - log p0)(alternate of x) - (log p - log p0)(x)]), log p(x) = -Σ_t l_t"
    )
    paper: ClassVar[Paper] = Paper(
        title="Direct Preference Optimization: Your Language Model is Secretly a Reward Model (for unlearning: TOFU,"
        " arXiv 2401.06121; with generated alternates: AltPO, arXiv 2409.13474)",
        url="https://arxiv.org/abs/2305.18290",
    )
    large: ClassVar[Recipe] = TOFU
    needs_original: ClassVar[bool] = True
    whole_records: ClassVar[bool] = True
    pairs: ClassVar[bool] = True

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    beta: float = Field(default=0.1, gt=0, le=1000, description="β: how soon the push fades")
    alternates: Literal["records", "refusal", "generated"] = Field(
        default="records",
        description="the preferred answer: each record's own `alternate`, a refusal, or one that the reference"
        " model writes (a refusal where it has no other words); for the latter two a plain text's first third or so is"
        " its prompt",
    )

    def rewrite(self, records: list[Record], generate: AnswerGenerator, seed: int) -> list[Record]:
        """Raises CoreError `no_alternate`."""
        if self.alternates == "records":
            missing = [number for number, record in enumerate(records, 1) if not (record.alternate or "").strip()]
            if missing:
                raise CoreError(
                    "no_alternate",
                    f"{len(missing)} of {len(records)} forget records have no `alternate`, the first of them number"
                    f" {missing[0]}: add one to each, or choose alternates 'refusal' or 'generated'",
                )
            return records
        prompted = [record.as_prompt_and_completion() for record in records]
        alternates = draw_refusals(REFUSALS, len(prompted), seed)
        if self.alternates == "generated":
            answers = generate([ask_for_alternate(record) for record in prompted])
            alternates = [answer.strip() or refusal for answer, refusal in zip(answers, alternates, strict=True)]
        return [
            record.model_copy(update={"alternate": spaced_like_answer(record, alternate)})
            for record, alternate in zip(prompted, alternates, strict=True)
        ]

    def forget_term(self, context: "MethodContext") -> "Term":
        reference = context.losses(context.forget)  # (M,), of both texts

        def term(rows: "Rows") -> "Tensor":
            return preference(rows.loss, reference[rows.index], rows.alternate, rows.record, self.beta)

        return term
