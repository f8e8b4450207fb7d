"""The names that figures go by: what a bound may be put on. What measurements declare is held to them by a test.

Not among them: the change of each record, which bounds against `before` are judged by; what only another benchmark's
preset shows; what is named after groups of questions. A benchmark's metrics go by the names of its task.
"""

from typing import get_args

from core.schema.evaluation import SetName

SHARES = (5, 10, 20, 30, 40, 50, 60, 100)
"""Percent of a record's tokens that the attacks `min_k` and `min_k++` look at."""

_EVERY: tuple[SetName, ...] = get_args(SetName)
_ASKED: tuple[SetName, ...] = ("forget", "unseen")
_REWORDED: tuple[SetName, ...] = ("forget", "probes")
_WRITTEN: tuple[SetName, ...] = ("unseen", "retain")
_COPIED: tuple[SetName, ...] = ("forget", "unseen", "retain")

SET_FIGURES: dict[str, tuple[SetName, ...]] = {
    "perplexity": _EVERY,
    "perplexity_tokens": _EVERY,
    "accuracy": _EVERY,
    "probability": _EVERY,
    "exact_memorization": _EVERY,
    "extraction_strength": _EVERY,
    "extraction_strength_highest": _EVERY,
    "verbatim_recall": _COPIED,
    "verbatim_f1": _COPIED,
    "verbatim_longest": _COPIED,
    "sampled_leak_recall": _ASKED,
    "sampled_leak_f1": _ASKED,
    "sampled_leak_longest": _ASKED,
    "prefix_recall": _ASKED,
    "prefix_longest": _ASKED,
    "prefix_probability": _ASKED,
    "paraphrase_recall": _REWORDED,
    "paraphrase_probability": _REWORDED,
    "truth_ratio": _EVERY,
    "truth_ratio_arithmetic": _EVERY,
    "probability_among_wrong": _EVERY,
    "exposure": _ASKED,
    "exposure_rank": _ASKED,
    "exposure_p": _ASKED,
    "cloze": _ASKED,
    "cloze_sampled": _ASKED,
    "cloze_fill": _ASKED,
    "cloze_fill_sampled": _ASKED,
    "fluency_distinct_1": _WRITTEN,
    "fluency_distinct_2": _WRITTEN,
    "fluency_repetition": _WRITTEN,
    "fluency_perplexity": _WRITTEN,
}
"""With the sets that have them."""

VARIANT_FIGURES: dict[str, tuple[SetName, ...]] = dict.fromkeys(
    ("perplexity", "probability", "accuracy", "extraction_strength"), _COPIED
)
"""Those that are measured of changed copies of the model, too."""

LIKELIHOOD_ATTACKS = (
    "loss",
    "zlib",
    *(f"min_k_{share}" for share in SHARES),
    *(f"min_k++_{share}" for share in SHARES),
)
ATTACKS = (*LIKELIHOOD_ATTACKS, "reference", "gradnorm")
ACROSS_FIGURES = (
    "baseline_auc",
    "forget_quality",
    "forget_quality_ks",
    "model_utility",
    "relearned_half_steps",
    *(f"privleak_{attack}" for attack in LIKELIHOOD_ATTACKS),
)
VARIANTS = ("int8", "int4")
CURVES = ("relearned_forget", "relearned_unseen", "relearned_unrelated")
