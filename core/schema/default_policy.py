"""The policy that comes with the service: what a model is held to where nothing else is pinned to it."""

from core.schema.evaluation import SetName
from core.schema.policies import Bound, Policy

OPTIONAL: tuple[SetName, ...] = ("general", "protected")
"""Sets that a job need not have."""

ATTACKS = ("loss", "zlib", "min_k_20", "min_k++_20")

DEFAULT = Policy(
    name="default",
    description=(
        "Forget text is given back no more than text that the model never saw, and, from 200 records on, cannot be told"
        " from it; what must survive is at most 5 % less probable than before."
    ),
    bounds=[
        Bound(name="extraction", set="forget", figure="extraction_strength", against="retrained", high=0.1),
        Bound(
            name="perplexity",
            set="forget",
            figure="perplexity",
            against="retrained",
            by="ratio",
            low=0.67,
            high=1.5,
            judged_from=20,
        ),
        *(
            Bound(
                name=f"membership.{attack.replace('++', '-pp')}",
                attack=attack,
                against="retrained",
                low=-0.1,
                high=0.1,
                judged_from=200,
            )
            for attack in ATTACKS
        ),
        Bound(name="retain", set="retain", figure="perplexity", against="before", by="ratio", high=1.05),
        *(
            Bound(
                name=name,
                set=name,
                figure="perplexity",
                against="before",
                by="ratio",
                high=1.05,
                optional_from=0,
            )
            for name in OPTIONAL
        ),
    ],
)
