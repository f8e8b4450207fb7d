"""The result of a job in a few sentences, extraction first: whether the text comes out is what a court asks."""

from core.report.bounds import bound_words
from core.report.glossary import REASONS
from core.report.previously_forgotten import summarize_previously_forgotten
from core.schema.figure_names import PREVIOUSLY_FORGOTTEN
from core.schema.policies import Result
from core.schema.report import Report, ReportPart, ReportVerdict

_EXTRACTION = {
    "passed": "The text could not be got out of the model by any test of the policy, within the policy's limits.",
    "failed": "The text, or parts of it, can still be got out of the model: at least one test gave back more than the"
    " policy allows.",
}
_MEMBERSHIP = {
    "passed": "An attacker could not tell that the model has seen the text, within the policy's limits.",
    "failed": "An attacker can tell that the model has seen the text better than the policy allows, or can see that it"
    " was made to forget it.",
}


def summarize(report: Report) -> list[str]:
    """Returns the sentences that a reader must know if she reads nothing else."""
    sentences = [_what_happened(report)]
    if report.verdict is not None:
        sentences += [_part(part) for part in report.verdict.parts]
        sentences += [_survival(report.verdict), *summarize_previously_forgotten(report.previously_forgotten)]
        sentences += [_verdict(report.verdict), *report.verdict.assumptions]
    elif report.status == "succeeded" and report.kind == "unlearn":
        sentences.append("The result was not judged by a policy: the figures stand by themselves.")
    if report.checkpoint is not None:
        sentences.append(_release(report))
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


def _part(part: ReportPart) -> str:
    texts = _EXTRACTION if part.part == "extraction" else _MEMBERSHIP
    if part.result in texts:
        return texts[part.result]
    subject = (
        "Whether the text can still be got out"
        if part.part == "extraction"
        else "Whether it can be told that the model has seen the text"
    )
    because = f", because {REASONS[part.reason]}" if part.reason else ""
    demanded = "" if part.required else " The policy does not demand it for so few records."
    return f"{subject} could not be judged{because}.{demanded}"


def _survival(verdict: ReportVerdict) -> str:
    survival = [bound for bound in verdict.bounds if bound.part is None and bound.carries]
    kept = [bound for bound in survival if bound.bound.across != PREVIOUSLY_FORGOTTEN]
    if any(bound.result == "failed" for bound in kept):
        return "What the model must keep has suffered more than the policy allows."
    if not kept or any(bound.result != "passed" for bound in kept):
        return "Whether the model kept what it must keep could not be judged completely."
    return "What the model must keep is intact, within the policy's limits."


def _verdict(verdict: ReportVerdict) -> str:
    policy = f"Verdict by the policy “{verdict.policy.name}”, the list of limits that this model must keep:"
    if verdict.result == "passed":
        return f"{policy} passed."
    if verdict.result == "failed":
        return f"{policy} failed. These limits were not kept: {_names(verdict, 'failed')}."
    unclear = _names(verdict, "underpowered")
    which = f" This concerns: {unclear}." if unclear else ""
    return f"{policy} not judged, because {verdict.reason_text}.{which}"


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
