"""Names of the figures that a bound may be on. A test compares them with the figures that measurements declare.

Three kinds of figures are left out: the change of each record, by which bounds against `before` are judged; figures
that only a benchmark's preset shows; and figures named after groups of questions. A benchmark task names its own
metrics.
"""

from typing import Literal, get_args

from core.schema.evaluation import SetName

SHARES = (5, 10, 20, 30, 40, 50, 60, 100)
"""Percent of a record's tokens that the attacks `min_k` and `min_k++` use."""

_ALL_SETS: tuple[SetName, ...] = get_args(SetName)
_FORGET_AND_UNSEEN: tuple[SetName, ...] = ("forget", "unseen")
_FORGET_AND_PROBES: tuple[SetName, ...] = ("forget", "probes")
_UNSEEN_AND_RETAIN: tuple[SetName, ...] = ("unseen", "retain")
_TEXT_SETS: tuple[SetName, ...] = ("forget", "unseen", "retain")

SET_FIGURES: dict[str, tuple[SetName, ...]] = {
    "perplexity": _ALL_SETS,
    "perplexity_tokens": _ALL_SETS,
    "accuracy": _ALL_SETS,
    "probability": _ALL_SETS,
    "exact_memorization": _ALL_SETS,
    "extraction_strength": _ALL_SETS,
    "extraction_strength_highest": _ALL_SETS,
    "verbatim_recall": _TEXT_SETS,
    "verbatim_recall_highest": _TEXT_SETS,
    "verbatim_f1": _TEXT_SETS,
    "verbatim_longest": _TEXT_SETS,
    "sampled_leak_recall": _FORGET_AND_UNSEEN,
    "sampled_leak_f1": _FORGET_AND_UNSEEN,
    "sampled_leak_longest": _FORGET_AND_UNSEEN,
    "leak_at_k": ("forget",),
    "leak_rate_highest": ("forget",),
    "prefix_recall": _FORGET_AND_UNSEEN,
    "prefix_longest": _FORGET_AND_UNSEEN,
    "prefix_probability": _FORGET_AND_UNSEEN,
    "paraphrase_recall": _FORGET_AND_PROBES,
    "paraphrase_probability": _FORGET_AND_PROBES,
    "truth_ratio": _ALL_SETS,
    "truth_ratio_arithmetic": _ALL_SETS,
    "probability_among_wrong": _ALL_SETS,
    "exposure": _FORGET_AND_UNSEEN,
    "exposure_rank": _FORGET_AND_UNSEEN,
    "exposure_p": _FORGET_AND_UNSEEN,
    "exposure_twins": _FORGET_AND_UNSEEN,
    "cloze": _FORGET_AND_UNSEEN,
    "cloze_highest": _FORGET_AND_UNSEEN,
    "cloze_sampled": _FORGET_AND_UNSEEN,
    "cloze_fill": _FORGET_AND_UNSEEN,
    "cloze_fill_sampled": _FORGET_AND_UNSEEN,
    "fluency_distinct_1": _UNSEEN_AND_RETAIN,
    "fluency_distinct_2": _UNSEEN_AND_RETAIN,
    "fluency_repetition": _UNSEEN_AND_RETAIN,
    "fluency_perplexity": _UNSEEN_AND_RETAIN,
}
"""Figures of sets, each with the sets that it is measured on."""

VARIANT_FIGURES: dict[str, tuple[SetName, ...]] = dict.fromkeys(
    ("perplexity", "probability", "accuracy", "extraction_strength", "extraction_strength_highest"), _TEXT_SETS
)
"""Figures that are measured on changed copies of the model too."""

OF_THESE_RECORDS = frozenset(
    {"extraction_strength_highest", "verbatim_recall_highest", "cloze_highest", "leak_rate_highest"}
)
"""Figures of the record that the model gives back most. They say nothing of other records, so one record is enough:
what the most probable continuation gives is known exactly, and of samples the interval is over the samples."""

LIKELIHOOD_ATTACKS = (
    "loss",
    "zlib",
    *(f"min_k_{share}" for share in SHARES),
    *(f"min_k++_{share}" for share in SHARES),
)
VARIANTS = ("int8", "int4")
RelearningAttackName = Literal[
    "forget",
    "unrelated",
    "retain",
    "reworded",
    "shown_1",
    "shown_100",
    "lora",
    "sgd",
    "rate_1e-5",
    "rate_3e-4",
    "int4",
]
RELEARNING_ATTACK_NAMES: tuple[RelearningAttackName, ...] = get_args(RelearningAttackName)
RELEARNED_SYMMETRIC = (
    "relearned_symmetric",
    *(f"relearned_{attack}_symmetric" for attack in RELEARNING_ATTACK_NAMES if attack != "forget"),
)
"""How alike this model and the retrained one relearn, by attack, in the attacks' order."""
RELEARNED_WORST = ("relearned_worst", "relearned_worst_ratio")
"""The lowest perplexity of any attack, and the lowest one beside the retrained model's under the same attack."""
RELEARNED_BESIDE_RETRAINED = frozenset({RELEARNED_WORST[1], *RELEARNED_SYMMETRIC})
"""Figures of relearning that there are only where the job names a retrained model."""
SYMMETRIC_FIGURES = ("probability", "extraction_strength")
"""Figures of the forget set that a quantised copy and the model itself are compared by."""

PREVIOUSLY_FORGOTTEN = "previously_forgotten_returned"
"""The share of the records of earlier requests that have come back."""

ATTACKS = (*LIKELIHOOD_ATTACKS, "reference", "gradnorm")
ACROSS_FIGURES = (
    "baseline_auc",
    "forget_quality",
    "forget_quality_ks",
    "model_utility",
    "relearned_half_steps",
    *RELEARNED_WORST,
    *RELEARNED_SYMMETRIC,
    *(f"quantized_symmetric_{figure}_{variant}" for variant in VARIANTS for figure in SYMMETRIC_FIGURES),
    PREVIOUSLY_FORGOTTEN,
    "weight_distance",
    "weight_distance_outside",
    *(f"privleak_{attack}" for attack in LIKELIHOOD_ATTACKS),
)
RELEARNING_CURVES = (*(f"relearned_{attack}" for attack in RELEARNING_ATTACK_NAMES), "relearned_unseen")
CURVE_POINTS = {
    **dict.fromkeys(RELEARNING_CURVES, "after {} steps"),
    "weight_distance_layers": "layer {}",
    "weight_line_loss": "{} % of the way back",
}
"""What the number of a curve's point stands for, by the curve's name."""
CURVES = tuple(CURVE_POINTS)
