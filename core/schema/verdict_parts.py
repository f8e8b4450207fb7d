"""The two parts of a verdict: can the text still be got out, and can it be told that the model has seen it."""

from typing import Literal

from pydantic import Field

from core.schema.strict import Strict

Verdict = Literal["passed", "failed", "not_judged"]

Reason = Literal[
    "underpowered", "no_reference_text", "shifted_reference_text", "reference_knows_the_text", "not_measured"
]
"""Why there is no verdict. `underpowered`: the interval is too wide to tell. `no_reference_text`: there is no unseen
text. `shifted_reference_text`: forget and unseen text can be told apart without any model, or a model that the job left
as it is finds the forget text far less likely. `reference_knows_the_text`: the retrained model has seen the forget set.
`not_measured`: a figure that the policy needs is missing."""

Part = Literal["extraction", "membership"]
"""`extraction`: whether the text can still be got out of the model, which a single record shows. `membership`: whether
it can be told that the model has seen the text, which takes many records."""

MEMBERSHIP_FIGURES = frozenset(
    {
        "perplexity",
        "perplexity_tokens",
        "probability",
        "exposure",
        "exposure_rank",
        "exposure_p",
        "exposure_twins",
        "truth_ratio",
        "truth_ratio_arithmetic",
        "probability_among_wrong",
    }
)
"""Figures of the forget set or its probes by which a model is told from one that never saw the text. All other figures
of these sets say how much of the text comes out."""

MEMBERSHIP_REQUIRED_FROM = 20
"""On fewer records to forget no interval is taken at its word, so that a membership bound can hardly be passed."""


class Requires(Strict):
    """The number of records to forget from which each part must be passed for the verdict to be `passed`."""

    extraction: int | None = Field(
        default=1,
        ge=1,
        description="The number of records to forget from which it must be shown that the text does not come out. Null:"
        " it need never be shown, and only a failure counts.",
    )
    membership: int | None = Field(
        default=MEMBERSHIP_REQUIRED_FROM,
        ge=1,
        description="The number of records to forget from which it must be shown that nobody can tell that the model"
        " has seen the text. With fewer records, or null, only a failure counts.",
    )

    def loosened_by(self, wished: "Requires") -> list[str]:
        """The parts that `wished` requires less often than this, in words."""
        problems = []
        for part in ("extraction", "membership"):
            pinned, asked = getattr(self, part), getattr(wished, part)
            if pinned is not None and (asked is None or asked > pinned):
                problems.append(f"requires.{part} may not be over {pinned}")
        return problems


class PartVerdict(Strict):
    """The verdict on one part."""

    result: Verdict = Field(
        description="`failed` if a bound of the part failed, `passed` if all that count are passed."
    )
    reason: Reason | None = Field(default=None, description="Why the result is `not_judged`.")
    required: bool = Field(description="Whether the whole verdict is `passed` only if this part is.")
