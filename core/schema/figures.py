"""The names that figures go by: what a bound may be put on."""

SHARES = (5, 10, 20, 30, 40, 50, 60, 100)
"""Percent of a record's tokens that the attacks `min_k` and `min_k++` look at."""

OF_SETS = (
    "perplexity",
    "perplexity_tokens",
    "accuracy",
    "probability",
    "exact_memorization",
    "extraction_strength",
    "extraction_strength_highest",
    "verbatim_recall",
    "verbatim_f1",
    "verbatim_longest",
    "sampled_leak_recall",
    "sampled_leak_f1",
    "sampled_leak_longest",
    "prefix_recall",
    "prefix_probability",
    "paraphrase_recall",
    "paraphrase_probability",
    "truth_ratio",
    "exposure",
    "exposure_rank",
    "exposure_p",
    "cloze",
    "cloze_sampled",
    "cloze_fill",
    "fluency_distinct_2",
    "fluency_repetition",
    "fluency_perplexity",
)
ATTACKS = (
    "loss",
    "zlib",
    *(f"min_k_{share}" for share in SHARES),
    *(f"min_k++_{share}" for share in SHARES),
    "reference",
    "gradnorm",
)
ACROSS = (
    "baseline_auc",
    "forget_quality",
    "model_utility",
    "relearned_half_steps",
    *(f"privleak_{attack}" for attack in ATTACKS),
)
VARIANTS = ("int8", "int4")
CURVES = ("relearned_forget", "relearned_unseen", "relearned_unrelated")
