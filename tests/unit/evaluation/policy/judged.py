"""Figures, attacks and policies made by hand, and what a verdict says of them."""

from typing import Any

from core.evaluation.policy.verdict import judge
from core.schema.evaluation import Attack, Figure, Measurements
from core.schema.policies import Judgement, Policy

Ends = tuple[float, float | None, float | None]


def figure(value: float, low: float | None = None, high: float | None = None, records: int = 100) -> Figure:
    return Figure(value=value, low=low, high=high, records=records)


JUDGED_MODEL, MODEL_BEFORE = "0" * 64, "b" * 64


def measured(model_digest: str = JUDGED_MODEL, **parts: Any) -> Measurements:
    return Measurements(seconds=0.0, model_digest=model_digest, **parts)


def attack(auc: Figure, joint: tuple[float, float] | None = None) -> Attack:
    return Attack(auc=auc, tpr_at_1_fpr=auc, tpr_at_5_fpr=auc, roc=[(0, 0), (1, 1)], joint=joint)


def policy(*bounds: dict[str, Any]) -> Policy:
    return Policy.model_validate(
        {"name": "a", "bounds": [{"name": f"b{n}", **bound} for n, bound in enumerate(bounds)]}
    )


CLOZE = {"set": "forget", "figure": "cloze", "high": 0.2}
BEFORE = measured(MODEL_BEFORE, sets={"unseen": {"extraction_strength": figure(0.1, 0.05, 0.15)}})
STRENGTH = {"set": "forget", "figure": "extraction_strength", "against": "retrained", "high": 0.1}
LOSS = {"attack": "loss", "against": "retrained", "low": -0.1, "high": 0.1}
RETAIN = {"set": "retain", "figure": "perplexity", "against": "before", "by": "ratio", "high": 1.05}
RETAIN_BEFORE = measured(MODEL_BEFORE, sets={"retain": {"perplexity": figure(10, 8, 12)}})


def judge_cloze(*ends: float | None, records: int = 100, **bound: Any) -> Judgement:
    after = measured(sets={"forget": {"cloze": figure(*ends, records=records)}})  # type: ignore[arg-type]
    return judge(policy(CLOZE | bound), before=None, after=after)
