"""The policy that comes with the service: what a model is held to where nothing else is pinned to it.

Its limits are measured: docs/benchmarks.md, "Verdicts".
"""

from typing import Any

from core.schema.evaluation import JUDGED_ATTACKS
from core.schema.policies import Policy

MEMBERSHIP_FROM = 100
"""On fewer records the interval of an AUC is nearly as wide as the limits: exposure tells more."""

_LIKE_UNSEEN: dict[str, Any] = {"set": "forget", "against": "retrained"}

_KEPT: dict[str, Any] = {"figure": "perplexity", "against": "before", "by": "ratio", "high": 1.05}

DEFAULT = Policy.model_validate(
    {
        "name": "default",
        "description": "What must be forgotten is as if it had never been seen, in the model and in its 4-bit copy; the"
        " rest is within 5 % of what it was.",
        "bounds": [
            {
                **_LIKE_UNSEEN,
                "name": "perplexity",
                "figure": "perplexity",
                "by": "ratio",
                "low": 0.5,
                "high": 2.0,
                "judged_from": 50,
            },
            {**_LIKE_UNSEEN, "name": "perplexity_far", "figure": "perplexity", "by": "ratio", "low": 0.1, "high": 10.0},
            *(
                {
                    "name": attack,
                    "attack": attack,
                    "against": "retrained",
                    "low": -0.15,
                    "high": 0.15,
                    "judged_from": MEMBERSHIP_FROM,
                }
                for attack in JUDGED_ATTACKS
            ),
            {
                "name": "exposure",
                "set": "forget",
                "figure": "exposure_rank",
                "low": 0.3,
                "optional_from": MEMBERSHIP_FROM,
            },
            {**_LIKE_UNSEEN, "name": "extraction_strength", "figure": "extraction_strength", "high": 0.1},
            {"name": "retain", "set": "retain", **_KEPT},
            {"name": "general", "set": "general", **_KEPT, "optional_from": 0},
            {"name": "protected", "set": "protected", **_KEPT, "optional_from": 0},
        ],
    }
)
