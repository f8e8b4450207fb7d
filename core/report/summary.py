"""The result of a job in a few sentences, extraction first: whether the text comes out is what a court asks."""

from collections.abc import Mapping, Sequence
from datetime import UTC

from core.report.bounds import bound_words
from core.report.days import day_text
from core.report.glossary import REASONS, set_words
from core.report.numbers import records_text
from core.report.previously_forgotten import summarize_previously_forgotten
from core.schema.evaluation import SetName
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.policies import Bound, Result
from core.schema.report import Report, ReportBound, ReportPart, ReportPurge, ReportVerdict

_EXTRACTION = {
    "passed": "By the policy's tests, no more of the text came out than its limits allow.",
    "failed": "The text, or parts of it, can still be got out of the model: at least one test gave back more than the"
    " policy allows.",
}
_MEMBERSHIP = {
    "passed": "By the attacks that the policy names, an attacker could not tell that the model has seen the text,"
    " within the policy's limits.",
    "failed": "More surely than the policy allows, an attacker can tell that the model has seen the text, or that it"
    " was made to forget it.",
}
_KEPT: Mapping[SetName, str] = {
    "retain": "the text to keep",
    "general": "general ability",
    "protected": "the answers to questions about what the model must keep",
}
_RESULTS: Mapping[Result, str] = {
    "passed": "passed",
    "failed": "failed",
    "underpowered": "could not be told",
    "not_judged": "not judged",
}


def summarize(report: Report) -> list[str]:
    """Returns the sentences that a reader must know if she reads nothing else."""
    sentences = [_what_happened(report)]
    if report.verdict is not None:
        sentences += [_part(part, report) for part in report.verdict.parts]
        sentences += [_survival(report, report.verdict), *summarize_previously_forgotten(report.previously_forgotten)]
        sentences += [_verdict(report.verdict), _results(report), *report.verdict.assumptions]
    elif report.status == "succeeded" and report.kind == "unlearn":
        sentences.append("The result was not judged by a policy: the figures stand by themselves.")
    if report.checkpoint is not None:
        sentences.append(_release(report))
    if report.status == "succeeded":
        sentences += _stored(report.purge)
    return sentences


def _what_happened(report: Report) -> str:
    records = sum(used.records for used in report.data if used.name == "forget")
    counted = "1 record" if records == 1 else f"{records} records"
    model = f"the model “{report.model.id}”"
    if report.status == "failed":
        reason = f" The reason: {report.error.message.rstrip('.')}." if report.error else ""
        return f"The job failed and made no new model.{reason}"
    if report.status == "cancelled" and _had_failed(report):
        return "The job failed, and a person cancelled it afterwards. It made no new model."
    if report.status == "cancelled":
        return "The job was cancelled before its end. It made no new model."
    if report.kind == "measure":
        return f"This job measured {model}. It changed nothing."
    if report.kind == "preview":
        found = (
            "By the tests that were made, it shows no sign of knowing the text."
            if report.outcome == "nothing_to_forget"
            else "The figures below show what it knows."
        )
        return f"This job tested what {model} knows of {counted}, and changed nothing. {found}"
    if report.outcome == "nothing_to_forget":
        return (
            f"The service tested what {model} knows of the {counted} to forget. By these tests the model does not know"
            " them, so nothing was changed, and there is no new model."
        )
    return (
        f"The service changed a copy of {model} so that it forgets {counted}, and measured it before and after. A"
        f" record is one text, or one question with its answer.{_shared(len(report.shared_run))}"
    )


def _had_failed(report: Report) -> bool:
    """Returns whether the job had failed when it was cancelled. A failure before a retry does not count."""
    changes = [action.action for action in report.actions if action.object == report.job]
    ends = [change for change in changes if change in ("job.failed", "job.requeued", "job.cancelled")]
    return ends[-2:] == ["job.failed", "job.cancelled"]


def _shared(others: int) -> str:
    if not others:
        return ""
    requests = "another request" if others == 1 else f"{others} other requests"
    return (
        f" The same change of the model also served {requests}. This report is about this request alone: its own text"
        " was measured by itself."
    )


def _part(part: ReportPart, report: Report) -> str:
    texts = _EXTRACTION if part.part == "extraction" else _MEMBERSHIP
    if part.result in texts:
        return f"{texts[part.result]}{_further_attacks(report) if part.part == 'membership' else ''}"
    subject = (
        "Whether the text can still be got out"
        if part.part == "extraction"
        else "Whether it can be told that the model has seen the text"
    )
    because = f", because {REASONS[part.reason]}" if part.reason else ""
    demanded = "" if part.required else " The policy does not demand it for so few records."
    return f"{subject} could not be judged{because}.{demanded}"


def _further_attacks(report: Report) -> str:
    """The number of the attacks that were made without a limit on them."""
    if report.verdict is None or report.figures.after is None:
        return ""
    limited = {bound.bound.attack for bound in report.verdict.bounds}
    further = len(report.figures.after.attacks.keys() - limited)
    if not further:
        return ""
    attacks = "1 more attack was computed and is" if further == 1 else f"{further} more attacks were computed and are"
    return f" {attacks} not judged; {'it is' if further == 1 else 'they are'} in the annex."


def _survival(report: Report, verdict: ReportVerdict) -> str:
    survival = [bound for bound in verdict.bounds if bound.part is None and bound.carries]
    kept = [bound for bound in survival if bound.bound.across != PREVIOUSLY_FORGOTTEN]
    if any(bound.result == "failed" for bound in kept):
        return "What the model must keep has suffered more than the policy allows."
    if not kept or any(bound.result != "passed" for bound in kept):
        return "Whether the model kept what it must keep could not be judged completely."
    return (
        f"What the model must keep is intact, within the policy's limits, as measured on {_shown(kept)}."
        f"{_unshown(report)}"
    )


def _shown(kept: Sequence[ReportBound]) -> str:
    """The sets by which the policy judged what must be kept, with their numbers of records."""
    shown = dict.fromkeys(f"{_subject(judged.bound)} ({records_text(judged.records)})" for judged in kept)
    return _join(list(shown))


def _subject(bound: Bound) -> str:
    return bound_words(bound) if bound.set is None else set_words(bound.set)


def _unshown(report: Report) -> str:
    measured = {} if report.figures.after is None else report.figures.after.sets
    missing = [name for name in _KEPT if name not in measured]
    if not missing:
        return ""
    text = _join([_KEPT[name] for name in missing])
    verb = "were" if len(missing) > 1 or "protected" in missing else "was"
    return f" {text[:1].upper()}{text[1:]} {verb} not measured."


def _join(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _stored(purge: Sequence[ReportPurge]) -> list[str]:
    """A sentence on the text to forget while one of its files is not deleted."""
    kept = [file.expires_at for file in purge if not file.deleted]
    ends = [end for end in kept if end is not None]
    if not kept:
        return []
    if len(ends) < len(kept):
        return ["The text to forget is still stored, encrypted, by the service, and no day is set for its deletion."]
    until = day_text(max(ends).astimezone(UTC).date())
    return [f"The text to forget is still stored, encrypted, by the service until {until}."]


def _verdict(verdict: ReportVerdict) -> str:
    policy = f"Verdict by the policy “{verdict.policy.name}”, the list of limits that this model must keep:"
    if verdict.result == "passed":
        return f"{policy} passed."
    if verdict.result == "failed":
        return f"{policy} failed. These figures are beyond their limits: {_names(verdict, 'failed')}."
    unclear = _names(verdict, "underpowered")
    which = f" This concerns: {unclear}." if unclear else ""
    return f"{policy} not judged, because {verdict.reason_text}.{which}"


def _results(report: Report) -> str:
    """The number of tests with each result, those that do not count too, as the report lists them."""
    if report.verdict is None:
        return ""
    listed = [
        bound
        for bound in report.verdict.bounds
        if report.previously_forgotten or bound.bound.across != PREVIOUSLY_FORGOTTEN
    ]
    counts: list[str] = []
    for result, words in _RESULTS.items():
        names = [bound.bound.name for bound in listed if bound.result == result]
        if names or result in ("passed", "failed"):
            tests = "" if counts else " test" if len(names) == 1 else " tests"
            named = f" ({', '.join(names)})" if names and result != "passed" else ""
            counts.append(f"{len(names)}{tests} {words}{named}")
    return f"{', '.join(counts)}. A name in parentheses stands below the result of its test."


def _names(verdict: ReportVerdict, result: Result) -> str:
    """The figures of the counting bounds with this result, each once."""
    names = [bound_words(bound.bound) for bound in verdict.bounds if bound.carries and bound.result == result]
    return "; ".join(dict.fromkeys(names))


def _release(report: Report) -> str:
    made = report.checkpoint
    if made is None or not made.released:
        return "The new model is held back: it may not be downloaded until a person with that right releases it."
    if made.released_by is not None:
        return "A person released the new model; the audit log keeps the reason."
    return "The new model is released: it may be downloaded and used."
