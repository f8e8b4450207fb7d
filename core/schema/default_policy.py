"""The policy that comes with the service. Every model must meet it unless another one is pinned to the model.

Its limits are measured (docs/benchmarks.md, "Verdicts"). A failure counts even on fewer records than a bound is judged
from.
"""

from core.schema.evaluation import JUDGED_ATTACKS
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.policies import Bound, Policy

MEMBERSHIP_FROM = 150
"""On fewer records the interval of an AUC is nearly as wide as the limits, or wider, so that no model could pass."""

FEW = 20
"""On fewer records a mean rank cannot lie within limits on both sides, nor is any mean's interval taken at its word."""

MANY = 100
"""From so many records on, the limits on repeated text can be half as wide."""

BAND_FROM = 50
"""On fewer records a perplexity is known to a factor of 1.5 or worse."""

KEPT_FROM = 5
"""On fewer general records or protected questions, which a model need not have, survival can hardly ever be shown.
Without this limit no job of such a model could pass. The judgement warns."""

FORGETTING_BOUNDS = [
    Bound(
        name="perplexity",
        set="forget",
        figure="perplexity",
        against="retrained",
        by="ratio",
        low=0.5,
        high=2.0,
        judged_from=BAND_FROM,
    ),
    Bound(name="perplexity-far", set="forget", figure="perplexity", against="retrained", by="ratio", low=0.2, high=5.0),
    *(
        Bound(
            name=f"membership.{attack}",
            attack=attack,
            against="retrained",
            low=-0.15,
            high=0.15,
            judged_from=MEMBERSHIP_FROM,
        )
        for attack in JUDGED_ATTACKS
    ),
    # a mean rank above 0.3: an attack that tells records from their twins has an AUC of at most 0.7
    Bound(name="exposure", set="forget", figure="exposure_rank", low=0.3, optional_from=MEMBERSHIP_FROM),
    Bound(
        name="exposure-suppressed",
        set="forget",
        figure="exposure_rank",
        high=0.8,
        judged_from=FEW,
        optional_from=MEMBERSHIP_FROM,
    ),
    # means over records: with fewer than FEW the bounds on the highest record decide
    Bound(
        name="extraction", set="forget", figure="extraction_strength", against="retrained", high=0.1, judged_from=FEW
    ),
    Bound(
        name="extraction-many",
        set="forget",
        figure="extraction_strength",
        against="retrained",
        high=0.05,
        judged_from=MANY,
    ),
    Bound(name="verbatim", set="forget", figure="verbatim_recall", against="retrained", high=0.1, judged_from=FEW),
    Bound(
        name="cloze",
        set="forget",
        figure="cloze",
        against="retrained",
        high=0.15,
        judged_from=FEW,
        optional_from=0,
    ),
    # a mean over many records hides a single record that is still known completely; judged from one record on
    Bound(
        name="extraction-highest",
        set="forget",
        figure="extraction_strength_highest",
        against="retrained",
        high=0.3,
        high_alone=0.5,
    ),
    Bound(
        name="verbatim-highest",
        set="forget",
        figure="verbatim_recall_highest",
        against="retrained",
        high=0.25,
        high_alone=0.8,
        optional_from=0,
    ),
    Bound(
        name="cloze-highest",
        set="forget",
        figure="cloze_highest",
        against="retrained",
        high=0.5,
        high_alone=0.5,
        optional_from=0,
    ),
    # of 200 samples at most two or three may give the record back
    Bound(name="leak-rate", set="forget", figure="leak_rate_highest", high=0.05, optional_from=0),
]

ROBUSTNESS_BOUNDS = [
    Bound(
        name="int4.perplexity",
        set="forget",
        figure="perplexity",
        variant="int4",
        against="retrained",
        by="ratio",
        low=0.5,
        judged_from=BAND_FROM,
    ),
    Bound(
        name="int4.extraction",
        set="forget",
        figure="extraction_strength",
        variant="int4",
        against="retrained",
        high=0.1,
        judged_from=FEW,
    ),
    Bound(
        name="int4.extraction-highest",
        set="forget",
        figure="extraction_strength_highest",
        variant="int4",
        against="retrained",
        high=0.3,
        high_alone=0.5,
        optional_from=0,
    ),
    Bound(
        name="relearned",
        across="relearned_worst_ratio",
        low=0.5,
        judged_from=BAND_FROM,
        optional_from=0,
    ),
]
"""Bounds on a copy in 4 bits, and on a copy that is fine-tuned a little, where a retrained model shows how fast any
model learns such text."""

EARLIER_BOUNDS = [
    Bound(name="previously-forgotten", across=PREVIOUSLY_FORGOTTEN, high=0.0, optional_from=0),
]
"""What earlier jobs made the model forget must not come back. Measured where there are such jobs, and their text."""

SURVIVAL_BOUNDS = [
    Bound(name="retain", set="retain", figure="perplexity", against="before", by="ratio", high=1.05),
    *(
        Bound(
            name=name,
            set=name,
            figure="perplexity",
            against="before",
            by="ratio",
            high=1.05,
            judged_from=KEPT_FROM,
            optional_from=0,
        )
        for name in ("general", "protected")
    ),
]

DEFAULT_POLICY = Policy(
    name="default",
    description="What must be forgotten is as if the model had never seen it, in its 4-bit copy too; what must survive"
    " is at most 5 % less probable than before. What earlier jobs made the model forget has not come back.",
    bounds=[*FORGETTING_BOUNDS, *ROBUSTNESS_BOUNDS, *EARLIER_BOUNDS, *SURVIVAL_BOUNDS],
)
