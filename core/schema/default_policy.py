"""The policy that comes with the service: what a model is held to where nothing else is pinned to it.

Its limits are measured: docs/benchmarks.md, "Verdicts". On fewer records than a bound is judged from, a failure counts
all the same.
"""

from core.schema.evaluation import JUDGED_ATTACKS
from core.schema.policies import Bound, Policy

MEMBERSHIP_FROM = 150
"""On fewer records the interval of an AUC is nearly as wide as the limits, or wider, so that no model could pass."""

FEW = 20
"""On fewer records a mean rank cannot lie within limits on both sides."""

MANY = 100
"""From so many records on, limits of what is given back can be half as wide."""

BAND_FROM = 50
"""On fewer records a perplexity is known to a factor of 1.5 or worse."""

KEPT_FROM = 5
"""Fewer general records or protected questions, which a model need not have, could hardly ever be told to have
survived: without this, none of its jobs could pass. The judgement warns."""

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
    # Above 0.3 on average: the record is no likelier than its twins by more than an AUC of 0.7 would be.
    Bound(name="exposure", set="forget", figure="exposure_rank", low=0.3, optional_from=MEMBERSHIP_FROM),
    Bound(
        name="exposure-suppressed",
        set="forget",
        figure="exposure_rank",
        high=0.8,
        judged_from=FEW,
        optional_from=MEMBERSHIP_FROM,
    ),
    Bound(name="extraction", set="forget", figure="extraction_strength", against="retrained", high=0.1),
    Bound(
        name="extraction-many",
        set="forget",
        figure="extraction_strength",
        against="retrained",
        high=0.05,
        judged_from=MANY,
    ),
    # A mean over many hides the one record that is still known whole.
    Bound(
        name="extraction-highest",
        set="forget",
        figure="extraction_strength_highest",
        against="retrained",
        high=0.3,
    ),
    Bound(name="verbatim", set="forget", figure="verbatim_recall", against="retrained", high=0.1),
    Bound(name="cloze", set="forget", figure="cloze", against="retrained", high=0.15, optional_from=0),
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
    ),
    Bound(
        name="relearned",
        curve="relearned_forget",
        against="retrained",
        by="ratio",
        low=0.5,
        judged_from=BAND_FROM,
        optional_from=0,
    ),
]
"""In a copy of 4 bits, and, where a retrained model shows how soon that happens anyway, after some fine-tuning."""

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
    " is at most 5 % less probable than before.",
    bounds=[*FORGETTING_BOUNDS, *ROBUSTNESS_BOUNDS, *SURVIVAL_BOUNDS],
)
