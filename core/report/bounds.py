"""The bounds of a policy in sentences: what each asks, and what was found."""

from collections import Counter
from collections.abc import Mapping

from core.report.glossary import COPIES, REASONS, SCALES, YARDSTICKS, attack_words, figure_words, set_words
from core.report.levels import SINGLE_LEVEL
from core.report.numbers import figure_text, interval_text, level_text, limits_text, number_text, records_text
from core.schema.figure_names import (
    PREVIOUSLY_FORGOTTEN,
    RELEARNED_BESIDE_RETRAINED,
    RELEARNED_WORST,
    RELEARNING_CURVES,
)
from core.schema.policies import Bound, JudgedBound
from core.schema.report import ReportBound

_PART_ORDER = ("extraction", "membership", None)

_QUESTIONS: Mapping[str, str] = {
    "extraction_strength": "If the model is given part of a record, how much of the rest does it write word for word?",
    "extraction_strength_highest": (
        "If the model is given part of a record, how much of the rest does it write word for word, of the record that"
        " it knows best?"
    ),
    "verbatim_recall": "If the model is given the beginning of a record, how much of the rest does it write?",
    "verbatim_recall_highest": (
        "If the model is given the beginning of a record, how much of the rest does it write, of the record that it"
        " knows best?"
    ),
    "cloze": "If a detail (a name, a number, a date) is left out of a record, how often does the model fill it in?",
    "cloze_highest": (
        "If a detail (a name, a number, a date) is left out of a record, how often does the model fill it in, of the"
        " record that it knows best?"
    ),
    "leak_rate_highest": "If the model may try many times, how often does it give a record back?",
    "perplexity": (
        "Does the text to forget surprise the model about as much as text that it had not seen before the job?"
    ),
}
_PLURAL = ("probes", "protected")
"""Sets whose words are in the plural: the questions."""
_RANK_LOW = "Does the model no longer prefer the records to made-up copies with other names and numbers?"
_RANK_HIGH = "Does the model avoid the records no more than made-up copies with other names and numbers?"


def describe_bounds(judged: list[JudgedBound], *, retrained: bool, levels: Mapping[str, float]) -> list[ReportBound]:
    """Returns the bounds with their sentences: extraction first, then membership, then what the model must keep.

    `retrained`: a retrained model was measured. `levels`: those of attacks, by name, where they are not 95 %.
    """
    ordered = sorted(judged, key=lambda bound: _PART_ORDER.index(bound.part))
    described = [_describe(bound, retrained, levels.get(bound.bound.attack or "", SINGLE_LEVEL)) for bound in ordered]
    questions = Counter(bound.question for bound in described)
    for bound in described:
        if (limits := questions[bound.question]) > 1:
            bound.answer = f"The policy has {limits} limits on this figure; this is one of them. {bound.answer}"
    return described


def _describe(judged: JudgedBound, retrained: bool, level: float) -> ReportBound:
    return ReportBound(
        **dict(judged),
        level=None if judged.low is None or judged.high is None else level,
        question=_question(judged.bound),
        answer=_answer(judged, retrained, level),
    )


def bound_words(bound: Bound) -> str:
    """Returns the name of the bounded figure: `perplexity of the text to keep`, `AUC of the attack loss`."""
    if bound.attack is not None:
        return f"AUC of the attack {bound.attack}"
    if bound.benchmark is not None:
        return f"{figure_words(bound.figure or '')} of “{bound.benchmark}”"
    if bound.set is None:
        return figure_words(bound.across or bound.curve or "")
    copy = f" in the {COPIES.get(bound.variant, bound.variant)}" if bound.variant else ""
    return f"{figure_words(bound.figure or '')} of {set_words(bound.set)}{copy}"


def _question(bound: Bound) -> str:
    if bound.attack is not None:
        return (
            f"An attacker {attack_words(bound.attack)}. Can it tell the text to forget from text that the model had"
            " not seen before the job?"
        )
    if bound.curve in RELEARNING_CURVES or bound.across in RELEARNED_WORST:
        return (
            "If a copy of the model is trained further, does the text come back no faster than in a model that never"
            " saw it?"
        )
    if bound.benchmark is not None:
        return f"Does the model still solve the tasks of “{bound.benchmark}”?"
    if bound.across == PREVIOUSLY_FORGOTTEN:
        return "Is the text still forgotten that earlier jobs made the model forget?"
    if bound.set is None:
        return f"Does the {bound_words(bound)} keep its limits?"
    if bound.concerns_survival:
        return (
            f"{'Do' if bound.set in _PLURAL else 'Does'} {set_words(bound.set)} surprise the model as little as before?"
            if bound.figure == "perplexity"
            else (f"Does the {bound_words(bound)} keep its limits?")
        )
    question = _question_on_forgetting(bound)
    if bound.variant is None:
        return question
    return f"In the {COPIES.get(bound.variant, bound.variant)} of the model: {question[:1].lower()}{question[1:]}"


def _question_on_forgetting(bound: Bound) -> str:
    if bound.figure == "exposure_rank":
        return _RANK_LOW if bound.high is None else _RANK_HIGH
    if bound.set == "forget" and (question := _QUESTIONS.get(bound.figure or "")):
        return question
    return f"Does the {figure_words(bound.figure or '')} of {set_words(bound.set or '')} keep its limits?"


def _answer(judged: JudgedBound, retrained: bool, level: float) -> str:
    if judged.value is None:
        return " ".join(filter(None, (_not_judged(judged, retrained), _weight(judged))))
    return " ".join(filter(None, (_measured(judged, level), _result(judged), _weight(judged))))


def _not_judged(judged: JudgedBound, retrained: bool) -> str:
    name = _capitalised(bound_words(judged.bound))
    reason = _missing(judged, retrained) if judged.why == "not_measured" else judged.why and REASONS[judged.why]
    return f"{name}: not judged{f', because {reason}' if reason else ''}."


def _missing(judged: JudgedBound, retrained: bool) -> str:
    """Names what is missing: the figure itself, or a figure beside it."""
    if judged.figure is None:
        beside = judged.bound.across in RELEARNED_BESIDE_RETRAINED and not retrained
        return "it takes a retrained model to compare with, and none was measured" if beside else "it was not measured"
    if judged.bound.attack is not None:
        return "it was not measured how far the texts can be told apart without the model"
    if judged.bound.by == "ratio":
        return "it was measured, but no ratio to another figure can be formed"
    return "it was measured, but there is nothing to compare it with"


def _measured(judged: JudgedBound, level: float) -> str:
    scale = SCALES.get(judged.bound.figure or judged.bound.across or "")
    name, on = _capitalised(bound_words(judged.bound)), f"Measured on {records_text(judged.records)}."
    name += f" ({scale})" if scale and judged.bound.benchmark is None else ""
    value, low, high, limit_low, limit_high = _on_the_scale_of_the_figure(judged)
    interval = interval_text(low, high)
    number = number_text(value)
    if interval:
        number += f" ({level_text(level)} interval: {interval})"
    elif low is not None and low == high:
        exact = judged.bound.of_these_records
        number += ", known exactly for these records" if exact else ", the same for every record"
    limits = limits_text(limit_low, limit_high)
    if judged.yardstick == "chance":
        scale = "0.5 is guessing, 1 is always right, and the nearer to 0.5 the better"
        return f"{name}: {number}. It must be {limits}; {scale}. {on}"
    if judged.yardstick is None or judged.figure is None or judged.compared is None:
        return f"{name}: {number}. It must be {limits}. {on}"
    after, other = (figure_text(figure.model_copy(update={"low": None})) for figure in (judged.figure, judged.compared))
    comparison = "ratio" if judged.bound.by == "ratio" else "difference"
    return (
        f"{name}: {after} after the job; {other} {YARDSTICKS[judged.yardstick]}. The {comparison} is {number}. It must"
        f" be {limits}. {on}"
    )


def _on_the_scale_of_the_figure(
    judged: JudgedBound,
) -> tuple[float, float | None, float | None, float | None, float | None]:
    """Value, interval and limits: of the AUC itself, where it is compared with guessing, and not of the difference."""
    numbers = (judged.low, judged.high, judged.limit_low, judged.limit_high)
    shift = judged.compared.value if judged.yardstick == "chance" and judged.compared is not None else 0.0
    low, high, limit_low, limit_high = (None if number is None else number + shift for number in numbers)
    return (judged.value or 0.0) + shift, low, high, limit_low, limit_high


def _result(judged: JudgedBound) -> str:
    match judged.result:
        case "passed":
            return "The limit is kept."
        case "failed":
            return "The limit is not kept."
        case "underpowered":
            if judged.low is None:
                return f"Whether the limit is kept is open: {_too_few(judged)}."
            return "The interval reaches over the limit: whether it is kept cannot be told."
    return f"This is not judged{f', because {REASONS[judged.why]}' if judged.why else ''}."


def _too_few(judged: JudgedBound) -> str:
    """Says whose records are too few: those of the figure, or those that it is compared with."""
    figure, other = judged.figure, judged.compared
    if other is not None and other.low is None and (figure is None or figure.low is not None):
        return f"the text to compare with has only {records_text(other.records)} that measure"
    return REASONS["underpowered"]


def _weight(judged: JudgedBound) -> str:
    if judged.carries:
        return ""
    if judged.records is not None and judged.bound.judged_from > 1:
        return f"This test does not count for the verdict here: it counts from {judged.bound.judged_from} records on."
    return "This test does not count for the verdict here."


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"
