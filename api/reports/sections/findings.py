"""The verdict, bound by bound, with the pictures of what was measured. Extraction comes first."""

from collections.abc import Callable, Sequence

from api.reports.blocks import Badge, Block, Cell, Code, Finding, Findings, Paragraph, Section, Table
from api.reports.sections import pictures
from api.reports.words import result_badge
from core.report.glossary import PARTS
from core.report.levels import SINGLE_LEVEL
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.report import Report, ReportBound, ReportPreviouslyForgotten
from core.schema.verdict_parts import Part

_HOW_JUDGED = (
    "Each test has a limit, which was fixed before the job began. A figure has an interval, which holds the true value"
    " in 95 of 100 cases (95 % interval). A test is passed if the whole interval keeps the limit, and failed if the"
    " whole interval lies beyond it. If the interval reaches over the limit, the result cannot be told. The name below"
    " a result is that of the limit in the policy."
)
_PICTURES = (
    "In the pictures, a bracket marks a limit for the model after the job, and opens to the allowed side. A test of a"
    " difference or a ratio has an interval of its own: that interval decides, not the bar in the picture."
)
_EXTRACTION = (
    "These tests try to make the model give the text back: they let it continue a record from its beginning, fill in"
    " details that were left out, or answer many times."
)
_MEMBERSHIP = (
    "An attacker who cannot get the text out may still recognise that the model was trained on it. A membership attack"
    " compares the text to forget with similar text that the model had not seen before the job. Its score, the"
    " AUC, is 0.5 if the attacker can only guess, and 1 if it is always right. A score below 0.5 gives the text away"
    " too: it is then unusually unknown to the model."
)
_JOINT = (
    "Several attacks have several chances to be wrong. So the interval of each is wider here than 95 %, as its test"
    " says: then all of them together are right in 95 of 100 cases."
)
_HALF = "One half of that similar text serves the training of the job; only the other half is measured here."
_SURVIVAL = "Forgetting must not damage the rest: these tests compare the model after the job with the model before it."
_ROBUSTNESS = (
    "These tests change a copy of the model, as somebody who has its files could: they store its weights with fewer"
    " digits (8 or 4 bits), or train it further for some steps."
)
_EARLIER = (
    "This job started from a model that earlier jobs had made. What they made the model forget must not come back. A"
    " sample of their records, as far as their text is still stored, was measured again in the new model, record by"
    " record, and compared with the figures that were kept just after each of those jobs."
)
_STATES = {
    "forgotten": Badge("still forgotten", "good"),
    "returned": Badge("has come back", "bad"),
    "not_measured": Badge("cannot be measured", "open"),
}


def findings(report: Report) -> list[Section]:
    """Returns the sections on what was measured; a section without a figure and a bound is left out."""
    sections = [
        Section(
            PARTS["extraction"], [Paragraph(_EXTRACTION), *pictures.extraction(report), *_bounds(report, "extraction")]
        ),
        Section(
            PARTS["membership"],
            [
                Paragraph(_membership_text(report)),
                *pictures.attack_scores(report),
                *pictures.attack_curves(report),
                *_bounds(report, "membership"),
            ],
        ),
        Section(
            "Is the rest of the model intact?",
            [Paragraph(_SURVIVAL), *pictures.perplexities(report), *_bounds(report, None)],
        ),
        Section("Is the text of earlier requests still forgotten?", [Paragraph(_EARLIER), *_earlier(report)]),
        Section(
            "What happens if a copy of the model is changed?",
            [
                Paragraph(_ROBUSTNESS),
                *pictures.quantised_copies(report),
                *([Paragraph(report.relearning.answer)] if report.relearning else []),
                *pictures.relearning(report),
            ],
        ),
    ]
    kept = [section for section in sections if len(section.blocks) > 1]
    if report.verdict is not None and kept:
        kept[0] = Section(kept[0].title, [Paragraph(_HOW_JUDGED), Paragraph(_PICTURES), *kept[0].blocks])
    return kept


def _membership_text(report: Report) -> str:
    bounds = [] if report.verdict is None else report.verdict.bounds
    joint = any((bound.level or SINGLE_LEVEL) > SINGLE_LEVEL for bound in bounds)
    sentences = [_MEMBERSHIP, _JOINT if joint else "", _HALF if _halves_unseen_text(report) else ""]
    return " ".join(filter(None, sentences))


def _halves_unseen_text(report: Report) -> bool:
    return report.kind == "unlearn" and any(used.name == "unseen" and used.part is None for used in report.data)


def _bounds(report: Report, part: Part | None) -> Sequence[Block]:
    """The bounds of a part but for that on earlier requests, which has a section of its own."""
    return _findings(report, lambda bound: bound.part == part and not _is_of_earlier(bound))


def _findings(report: Report, select: Callable[[ReportBound], bool]) -> Sequence[Block]:
    bounds = [] if report.verdict is None else [bound for bound in report.verdict.bounds if select(bound)]
    found = [Finding(bound.bound.name, bound.question, bound.answer, result_badge(bound.result)) for bound in bounds]
    return [Findings(found)] if found else []


def _earlier(report: Report) -> Sequence[Block]:
    """The text of each earlier request; empty where the job started from no earlier job's model."""
    if not report.previously_forgotten:
        return []
    rows: list[list[Cell]] = [
        [Code(entry.job), _earlier_badge(entry), entry.answer] for entry in report.previously_forgotten
    ]
    return [Table("Earlier requests", ["Job", "Result", "What was found"], rows), *_findings(report, _is_of_earlier)]


def _earlier_badge(entry: ReportPreviouslyForgotten) -> Badge:
    compared = entry.state == "not_measured" or entry.then is not None
    return _STATES[entry.state] if compared else Badge("cannot be compared", "open")


def _is_of_earlier(bound: ReportBound) -> bool:
    return bound.bound.across == PREVIOUSLY_FORGOTTEN
