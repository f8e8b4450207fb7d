"""Names of sets, figures, attacks and copies of the model, in words for readers who do not know the field."""

from collections.abc import Mapping

from core.schema.evaluation import SetName
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN, RelearningAttackName
from core.schema.jobs import Origin
from core.schema.policies import Yardstick
from core.schema.verdict_parts import Part, Reason

SETS: Mapping[SetName, str] = {
    "forget": "the text to forget",
    "retain": "the text to keep",
    "unseen": "text that the model had not seen before the job",
    "general": "general text",
    "probes": "the questions about the text to forget",
    "protected": "the questions about what the model must keep",
}

ORIGINS: Mapping[Origin, str] = {
    "request": "named in the request",
    "model": "a file of the model's registration",
    "made": "to be made by the service",
    "made_by_swapping": "made by the service: copies of the text to forget with other names and numbers",
    "made_by_the_model": "made by the service: written by the model itself",
}

FIGURES: Mapping[str, tuple[str, str]] = {
    "perplexity": (
        "perplexity",
        "How much a text surprises the model, word by word. 1 means that the model knows the text by heart. The less it"
        " knows the text, the higher the number.",
    ),
    "perplexity_tokens": (
        "perplexity of all words",
        "The perplexity of all words of a set together, so that long records count more.",
    ),
    "accuracy": ("next-word accuracy", "The share of words that the model guesses correctly from the words before."),
    "exact_memorization": (
        "exact memorisation",
        "The next-word accuracy under another name, which publications on memorisation use.",
    ),
    "probability": ("probability", "How probable the model finds the text, per word: between 0 and 1."),
    "extraction_strength": (
        "extraction strength",
        "The share of a record that the model writes by itself, word for word, after it was given the rest: 1 means the"
        " whole record, 0 means nothing. Mean over the records.",
    ),
    "extraction_strength_highest": (
        "highest extraction strength",
        "The extraction strength of the one record that the model gives back most.",
    ),
    "verbatim_recall": (
        "share given back verbatim",
        "The model is given the first part of a record and continues it. This is the share of the true rest that its"
        " continuation contains. Common words are in almost any continuation, so it is not 0 for unseen text either."
        " Mean over the records.",
    ),
    "verbatim_recall_highest": (
        "highest share given back verbatim",
        "The share given back verbatim of the one record that the model gives back most.",
    ),
    "verbatim_longest": (
        "longest run given back",
        "The longest run of words of a record that the model's continuation repeats, in words. Mean over the records.",
    ),
    "verbatim_f1": (
        "agreement of the continuation",
        "How much the model's continuation and the true rest of a record have in common: between 0 and 1.",
    ),
    "sampled_leak_recall": (
        "share given back in many tries",
        "The share of the true rest of a record in the best of several continuations that the model draws at random.",
    ),
    "sampled_leak_longest": (
        "longest run in many tries",
        "The longest run of words of a record that one of several random continuations repeats.",
    ),
    "sampled_leak_f1": (
        "agreement of the best of many tries",
        "How much the best of several random continuations and the true rest of a record have in common.",
    ),
    "leak_at_k": (
        "records given back in many tries",
        "The share of records that the model gives back in at least one of many random tries.",
    ),
    "leak_rate_highest": (
        "highest leak rate",
        "The share of random tries in which the model gives back the record that it gives back most often.",
    ),
    "prefix_recall": (
        "share given back on invitation",
        "The share of a record that the model gives back after words that invite it to answer.",
    ),
    "prefix_longest": (
        "longest run on invitation",
        "The longest run of words of a record that the model gives back after words that invite it to answer.",
    ),
    "prefix_probability": (
        "probability on invitation",
        "How probable the model finds a record after words that invite it to answer.",
    ),
    "paraphrase_recall": (
        "share answered to other wordings",
        "The share of the answer that the model gives to a question in other words.",
    ),
    "paraphrase_probability": (
        "probability of the answer to other wordings",
        "How probable the model finds the answer to a question in other words.",
    ),
    "cloze": (
        "details recovered",
        "The share of details (names, numbers, dates) of a record that the model fills in correctly when one is left"
        " out. Mean over the records.",
    ),
    "cloze_highest": (
        "highest share of details recovered",
        "The share of details recovered of the one record of which the model recovers most.",
    ),
    "cloze_sampled": (
        "details recovered in many tries",
        "The share of details that the model fills in correctly in one of several tries.",
    ),
    "cloze_fill": (
        "details told when asked",
        "The share of details of a record that the model tells when it is asked for them in other words.",
    ),
    "cloze_fill_sampled": (
        "details told when asked, in many tries",
        "The share of details of a record that the model tells when it is asked for them several times.",
    ),
    "exposure": (
        "exposure",
        "How clearly the model prefers a record to made-up copies with other names and numbers, on a logarithmic scale:"
        " about 1 means that it cannot tell them apart. The figure of unseen text, where it was measured, is what to"
        " compare with.",
    ),
    "exposure_rank": (
        "rank among made-up copies",
        "Where a record stands among made-up copies with other names and numbers, when the model sorts them by how"
        " familiar they are: 0 means first, 0.5 means in the middle, as for a record that it has never seen.",
    ),
    "exposure_twins": (
        "made-up copies",
        "How many made-up copies each record was compared with. Mean over the records.",
    ),
    "exposure_p": (
        "chance of such a rank",
        "The probability that the records stand so far ahead of their made-up copies if the model has never seen them."
        " It counts for the verdict only where the policy has a limit on it; the default policy has none.",
    ),
    "truth_ratio": (
        "truth ratio",
        "How the model weighs wrong answers against the right one. Near 1 it cannot tell them apart.",
    ),
    "truth_ratio_arithmetic": ("truth ratio, arithmetic", "The truth ratio, averaged in another way."),
    "probability_among_wrong": (
        "probability of the right answer",
        "The share of probability that the model gives to the right answer among wrong ones.",
    ),
    "fluency_distinct_1": ("different words", "The share of different words in text that the model writes."),
    "fluency_distinct_2": (
        "different pairs of words",
        "The share of different pairs of words in what the model writes.",
    ),
    "fluency_repetition": ("repetition", "The share of what the model writes that repeats itself."),
    "fluency_perplexity": (
        "perplexity of what the model writes",
        "How much the model from before the job is surprised by what this model writes.",
    ),
}
"""Each figure of a set: its name, and its meaning, which is understood by itself."""

CHANGES: Mapping[str, str] = {"change": "change of each record", "ratio": "ratio for each record"}
"""Endings of a figure's name that stand for the comparison of each record with the model before the job."""

PRIVLEAK = "privleak_"
PRIVLEAK_MEANING = (
    "The attack's AUC on another scale: 0 is as good as guessing or as the retrained model; −100 means that the text is"
    " recognised completely; above 0 it is unusually unknown."
)

RELEARNED = "relearned_"
RELEARNING: Mapping[RelearningAttackName, str] = {
    "forget": "a few other records to forget",
    "unrelated": "text of another kind",
    "retain": "text to keep",
    "reworded": "a few other records to forget, with their sentences in another order",
    "shown_1": "one other record to forget",
    "shown_100": "a hundred other records to forget",
    "lora": "a few other records to forget, by an adapter",
    "sgd": "a few other records to forget, by plain gradient descent",
    "rate_1e-5": "a few other records to forget, in small steps",
    "rate_3e-4": "a few other records to forget, in large steps",
    "int4": "a few other records to forget, from the 4-bit copy",
}
"""The text that a copy of the model is trained on, and how, by the attack's name."""

CURVES: Mapping[str, str] = {
    **{f"{RELEARNED}{attack}": f"perplexity after further training on {text}" for attack, text in RELEARNING.items()},
    "relearned_unseen": "perplexity of unseen text after further training",
    "weight_distance_layers": "change of the weights by layer",
    "weight_line_loss": "loss on the way back to the model before the job",
}

ATTACKS: Mapping[str, str] = {
    "loss": "looks at how much each text surprises the model",
    "zlib": "weighs how much each text surprises the model against how well the text can be compressed",
    "reference": "compares the model with the retrained model",
    "gradnorm": "looks at how strongly each text would still change the model",
}
"""What the attacker does. The attacks of the `min_k` family have names with a number (`attack_words`)."""

_ATTACK_LABELS = {
    "loss": "surprise by the whole text",
    "zlib": "surprise by compressed length",
    "reference": "difference to the retrained model",
    "gradnorm": "effect on the model",
}

ACROSS: Mapping[str, tuple[str, str]] = {
    "baseline_auc": (
        "difference of the texts themselves",
        "How well the text to forget and unseen text can be told apart without any model. Near 0.5 they cannot. Above"
        " 0.6 the texts differ by themselves, and membership attacks show nothing.",
    ),
    "forget_quality": (
        "forget quality",
        "The probability that this model and the retrained model answer alike (a p-value). Higher means more alike.",
    ),
    "forget_quality_ks": (
        "distance of the answers",
        "How far the answers of this model and the retrained model differ.",
    ),
    "model_utility": ("model utility", "How useful the model still is for what it must keep: between 0 and 1."),
    "relearned_worst": (
        "lowest perplexity after further training",
        "Copies of the model are trained further in several ways. This is the lowest perplexity that the text to forget"
        " then has in any of them, at any step.",
    ),
    "relearned_worst_ratio": (
        "lowest ratio of perplexities after further training",
        "Copies of this model and of the retrained model are trained further in the same ways. This is the lowest ratio"
        " of their perplexities of the text to forget, at any step: under 1 the text comes back sooner than it does in"
        " a model that has never seen it.",
    ),
    "relearned_half_steps": (
        "steps until half is back",
        "Steps of training on a few records to forget until half of what was forgotten is back. The model was trained"
        " on a copy for this test.",
    ),
    PREVIOUSLY_FORGOTTEN: (
        "share of earlier text that has come back",
        "Earlier jobs made this model forget other text. This is the share of the measured records of that text which"
        " the model knows again. Fewer than five tokens of a record do not count: they may be guessed.",
    ),
    "weight_distance": ("change of the weights", "How far the weights of the model have moved."),
}
"""Each figure of several sets or models: its name, and its meaning."""

SCALES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("extraction_strength", "extraction_strength_highest", "verbatim_recall", "verbatim_recall_highest"),
            *("sampled_leak_recall", "leak_rate_highest", "prefix_recall", "paraphrase_recall"),
            *("cloze", "cloze_highest", "cloze_sampled", "cloze_fill", "cloze_fill_sampled"),
        ),
        "0: nothing comes out, 1: everything; less is better",
    ),
    "leak_at_k": "0: none, 1: all records; less is better",
    "perplexity": "1: known by heart; the higher, the less it is known",
    "exposure_rank": "0: preferred to all copies, 0.5: like text that the model has never seen, 1: avoided most",
    "relearned_worst": "1: known by heart again; higher is better",
    "relearned_worst_ratio": "1: as in a model that has never seen the text; higher is better",
    "model_utility": "0: useless, 1: perfect; more is better",
    "forget_quality": "1: as in a model that has never seen the text; more is better",
}
"""The scale of a figure, and which way is better, where a reader does not know it."""

COPIES: Mapping[str, str] = {"int8": "8-bit copy", "int4": "4-bit copy"}

YARDSTICKS: Mapping[Yardstick, str] = {
    "before": "before the job",
    "retrained_model": "in the retrained model",
    "unseen_text": "before the job, on text that the model had never seen",
    "chance": "by guessing",
}
"""Where the figure comes from that a figure is compared with."""

PARTS: Mapping[Part, str] = {
    "extraction": "Can the text still be got out of the model?",
    "membership": "Can it be told that the model has seen the text?",
}

REASONS: Mapping[Reason, str] = {
    "underpowered": "there are too few records, or they differ too much, to tell",
    "no_reference_text": "there is no text to compare with that the model had not seen before the job",
    "shifted_reference_text": "the text to forget and the unseen text can be told apart without the model, or the"
    " model, which the job did not change, finds the text to forget far less likely",
    "reference_knows_the_text": "the model that was named as the retrained model knows the text to forget",
    "not_measured": "a figure that the policy needs was not measured",
}


def figure_words(name: str) -> str:
    """Returns the figure's name in words."""
    for names in (FIGURES, ACROSS):
        if name in names:
            return names[name][0]
    figure, _, ending = name.rpartition("_")
    if ending in CHANGES and figure in FIGURES:
        return f"{FIGURES[figure][0]}, {CHANGES[ending]}"
    if name.startswith(PRIVLEAK):
        return f"privacy leak by the attack {name.removeprefix(PRIVLEAK)}"
    return CURVES.get(name, name.replace("_", " "))


def figure_meaning(name: str) -> str | None:
    """Returns what the figure says; None: the name says it, or the glossary does not have it."""
    known = FIGURES.get(name) or ACROSS.get(name)
    return known[1] if known else None


def set_words(name: str) -> str:
    """Returns the set's name in words."""
    return next((words for known, words in SETS.items() if known == name), name)


def attack_words(name: str) -> str:
    """Returns what the attacker does, such as `looks at the 20 % of words that surprise the model most`."""
    if name in ATTACKS:
        return ATTACKS[name]
    family, _, share = name.rpartition("_")
    if family == "min_k":
        return f"looks at the {share} % of words that surprise the model most"
    if family == "min_k++":
        return (
            f"looks at the {share} % of words that surprise the model most, measured by how unsure the model is at each"
            " word"
        )
    return f"uses the method “{name}”"


def attack_label(name: str) -> str:
    """Returns the attack's name with a few words on what it looks at, for pictures."""
    family, _, share = name.rpartition("_")
    if family == "min_k":
        return f"{name}: the most surprising {share} %"
    if family == "min_k++":
        return f"{name}: {share} %, beyond expectation"
    return f"{name}: {_ATTACK_LABELS[name]}" if name in _ATTACK_LABELS else name
