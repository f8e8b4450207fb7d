"""Measurements like those of a small model's job, made from a few numbers."""

from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import Attack, CutShort, Figure, Measurements, Moment, SetName, StepFigure
from core.schema.policies import Bound, JudgedBound, Judgement, Result
from core.schema.verdict_parts import Part, PartVerdict, Reason

RECORDS = 200
PERPLEXITY: dict[Moment, dict[SetName, float]] = {
    "before": {"forget": 1.19, "retain": 1.195, "unseen": 73.2, "general": 812.4},
    "after": {"forget": 73.7, "retain": 1.28, "unseen": 74.03, "general": 1243567.0},
}
SHARES: dict[Moment, dict[SetName, tuple[float, float]]] = {
    "before": {"forget": (0.981, 0.946), "retain": (0.979, 0.941), "unseen": (0.412, 0.031), "general": (0.101, 0.0)},
    "after": {"forget": (0.409, 0.029), "retain": (0.962, 0.902), "unseen": (0.408, 0.03), "general": (0.094, 0.0)},
}
AUC: dict[Moment, dict[str, float]] = {
    "before": {"loss": 1.0, "zlib": 1.0, "min_k_20": 0.998, "min_k_40": 1.0, "min_k++_20": 0.994, "min_k_60": 1.0},
    "after": {
        "loss": 0.476,
        "zlib": 0.503,
        "min_k_20": 0.447,
        "min_k_40": 0.433,
        "min_k++_20": 0.535,
        "min_k_60": 0.46,
    },
}


def measurements(moment: Moment) -> Measurements:
    """Accuracy and extraction strength are SHARES' pairs; intervals are a plausible width around each value."""
    sets: dict[SetName, dict[str, Figure]] = {
        name: {
            "perplexity": _around(perplexity, perplexity * 0.06),
            "accuracy": _around(SHARES[moment][name][0], 0.018),
            "extraction_strength": _around(SHARES[moment][name][1], 0.011),
            "probability": _around(1 / perplexity, 0.004),
        }
        for name, perplexity in PERPLEXITY[moment].items()
    }
    attacks = {
        name: Attack(
            auc=_around(auc, 0.055, most=1.0),
            tpr_at_1_fpr=_around(0.02, 0.02),
            tpr_at_5_fpr=_around(0.06, 0.03),
            roc=[(0.0, 0.0), (1.0, 1.0)],
        )
        for name, auc in AUC[moment].items()
    }
    warnings = ["general: 12 records are few, so its intervals are wide"]
    return Measurements(sets=sets, attacks=attacks, warnings=warnings, seconds=4.2, model_digest="0" * 64)


def everything() -> Measurements:
    """Returns figures of every kind, of a model after unlearning."""
    after = measurements("after")
    probe_figures = {
        "probability": _around(0.21, 0.01),
        "exposure_p": Figure(value=1e-32, low=None, high=None, records=16),
    }
    more = {
        "sets": after.sets | {"probes": probe_figures},
        "variants": {"int4": {"forget": {"perplexity": _around(61.5, 3)}}},
        "across": {"baseline_auc": _around(0.512, 0.05)},
        "curves": {
            "relearned_forget": [StepFigure(step=5, figure=_around(40.25, 2))],
            "weight_distance_layers": [StepFigure(step=3, figure=Figure(value=4.5e-4, low=None, high=None, records=0))],
            "weight_line_loss": [StepFigure(step=75, figure=_around(2.5, 0.2))],
        },
        "benchmarks": {"a_task": {"acc": _around(0.253, 0.02)}},
        "cut_short": [CutShort(measurement="exposure", what="forget", done=32, of=200, reason="records")],
    }
    return after.model_copy(update=more)


def judgement() -> Judgement:
    """The default policy's verdict on a model that gives too much back: one bound of each result."""
    results = iter(_RESULTS)
    bounds = [_judged(bound, next(results, ("passed", None))) for bound in DEFAULT_POLICY.bounds]
    parts: dict[Part, PartVerdict] = {
        "extraction": PartVerdict(result="failed", required=True),
        "membership": PartVerdict(result="not_judged", reason="underpowered", required=False),
    }
    return Judgement(
        policy=DEFAULT_POLICY.name,
        verdict="failed",
        parts=parts,
        scope="verbatim",
        bounds=bounds,
        assumption="for the set 'retain' the job made 200 texts",
    )


_RESULTS: list[tuple[Result, Reason | None]] = [
    ("failed", None),
    ("underpowered", "underpowered"),
    ("not_judged", "shifted_reference_text"),
]


def _judged(bound: Bound, came: tuple[Result, Reason | None]) -> JudgedBound:
    result, why = came
    middle = sum(limit for limit in (bound.low, bound.high) if limit is not None) / 2
    value = {"failed": 0.31, "not_judged": None}.get(result, middle)
    half = 0.4 if result == "underpowered" else 0.02
    return JudgedBound(
        bound=bound,
        value=value,
        low=None if value is None else value - half,
        high=None if value is None else value + half,
        limit_low=bound.low,
        limit_high=bound.high,
        result=result,
        why=why,
        carries=result != "not_judged",
        records=RECORDS,
    )


def _around(value: float, half: float, most: float | None = None) -> Figure:
    high = value + half if most is None else min(most, value + half)
    return Figure(value=value, low=max(0.0, value - half), high=high, records=RECORDS)
