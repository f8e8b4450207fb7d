"""Refusal training: the model learns to decline where it would have recited."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from core.schema.record import Record
from core.unlearning.method import TOFU, AnswerGenerator, Method, Paper, Recipe, RetainTerm
from core.unlearning.refusals import REFUSALS, draw_refusals, spaced_like_answer

if TYPE_CHECKING:
    from core.unlearning.method_context import MethodContext
    from core.unlearning.objective import Term

Sentence = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]


class Refusal(Method):
    name: ClassVar[str] = "refusal"
    summary: ClassVar[str] = (
        "Descends on a refusal in place of each forget record's completion. A plain text's first third or so is its"
        " prompt. The suppressed text stays in the weights: other prompts may still bring it out."
    )
    formula: ClassVar[str] = "mean_x (1/n) Σ_t l_t(refusal | prompt of x), n tokens of the refusal"
    paper: ClassVar[Paper] = Paper(
        title="TOFU: A Task of Fictitious Unlearning for LLMs", url="https://arxiv.org/abs/2401.06121"
    )
    large: ClassVar[Recipe] = TOFU

    retain_term: RetainTerm = Field(default="descent", description="the term on the retain set")
    refusals: list[Sentence] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="the refusals, one drawn for each record by the seed; default: English sentences of the service's"
        " own",
    )

    def rewrite(self, records: list[Record], generate: AnswerGenerator, seed: int) -> list[Record]:
        prompted = [record.as_prompt_and_completion() for record in records]
        refusals = draw_refusals(self.refusals or REFUSALS, len(records), seed)
        return [
            record.with_scored_text(spaced_like_answer(record, refusal))
            for record, refusal in zip(prompted, refusals, strict=True)
        ]

    def forget_term(self, context: "MethodContext") -> "Term":
        return lambda rows: rows.loss
