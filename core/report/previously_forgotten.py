"""The findings on the text of earlier requests, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.report.numbers import number_text
from core.schema.previously_forgotten import PreviouslyForgotten, Unmeasured
from core.schema.report import ReportPreviouslyForgotten

_UNMEASURED: Mapping[Unmeasured | None, str] = {
    "deleted": "Its text is no longer stored, so that it cannot be measured in the new model.",
    "unreadable": "Its text is stored, but could not be opened or read, so that it was not measured in the new model.",
    "no_figures": "Its text is stored, but the earlier job kept no figures of the sampled records to compare with.",
    None: "Its text is no longer stored, or could not be read, so that it was not measured in the new model.",
}
_UNMEASURED_SUMMARY: Mapping[Unmeasured | None, str] = {
    "deleted": "is no longer stored",
    "unreadable": "is stored, but could not be read",
    "no_figures": "is stored, but has no figures to compare with",
    None: "is no longer stored, or could not be read",
}
_UNKNOWN = "This job changed the model's weights, and nothing but a measurement can tell what that did to a text."


def describe_previously_forgotten(measured: Mapping[str, Any] | None) -> list[ReportPreviouslyForgotten]:
    """Returns the entries of the figures after the job, each with its sentences."""
    entries = [PreviouslyForgotten.model_validate(entry) for entry in (measured or {}).get("previously_forgotten", [])]
    return [ReportPreviouslyForgotten(**dict(entry), answer=_answer(entry)) for entry in entries]


def summarize_previously_forgotten(entries: Sequence[ReportPreviouslyForgotten]) -> list[str]:
    """Returns what a reader must know of all earlier requests, in a sentence for each state that there is."""
    states = [entry.state for entry in entries]
    sentences = []
    uncompared = sum(entry.state == "returned" and entry.then is None for entry in entries)
    if returned := states.count("returned") - uncompared:
        sentences.append(f"Text that {_jobs(returned)} made the model forget has come back, at least in part.")
    if uncompared:
        sentences.append(
            f"Text that {_jobs(uncompared)} had to forget comes out of the model, at least in part. It does not count"
            " for the verdict, because no figures were kept then to compare with."
        )
    if forgotten := states.count("forgotten"):
        sampled = any(entry.state == "forgotten" and entry.measured < entry.records for entry in entries)
        text = "A sample of the text" if sampled else "The text"
        sentences.append(f"{text} that {_jobs(forgotten)} made the model forget was measured again: none came back.")
    for reason, words in _UNMEASURED_SUMMARY.items():
        if count := sum(entry.state == "not_measured" and entry.reason == reason for entry in entries):
            sentences.append(
                f"The text that {_jobs(count)} made the model forget {words}: whether it is still forgotten could not"
                " be measured."
            )
    return sentences


def _jobs(count: int) -> str:
    return "an earlier job" if count == 1 else f"{count} earlier jobs"


def _answer(entry: PreviouslyForgotten) -> str:
    if entry.now is None:
        return _describe_unmeasured(entry)
    sample = (
        f"{entry.measured} of {entry.records} records were measured again, those with the smallest digests."
        if entry.measured < entry.records
        else f"All {entry.records} records were measured again."
        if entry.records > 1
        else "The record was measured again."
    )
    found = "None has come back." if not entry.returned else f"{entry.returned} came back: the model knows them again."
    if entry.then is None:
        found = f"{entry.returned} of them come out of the model." if entry.returned else "None comes out of the model."
    now = (
        f"Perplexity {number_text(entry.now.perplexity)}, highest extraction strength"
        f" {number_text(entry.now.extraction_strength_highest)}"
    )
    if entry.then is None:
        return (
            f"{sample} {found} {now}. The earlier job kept no figures of single records to compare with, so they do not"
            " count for the verdict."
        )
    return (
        f"{sample} {found} {now}; just after the earlier job {number_text(entry.then.perplexity)} and"
        f" {number_text(entry.then.extraction_strength_highest)}."
    )


def _describe_unmeasured(entry: PreviouslyForgotten) -> str:
    by = "that job itself" if entry.last_measured == entry.job else entry.last_measured
    last = (
        "No job kept figures of its single records."
        if by is None
        else f"The last job that measured it is {by}; its report has the figures."
    )
    deleted = entry.hmac_sha256 if entry.reason in ("deleted", None) else None
    digest = f" Its file had the HMAC {deleted}." if deleted else ""
    return f"{_UNMEASURED[entry.reason]} {_UNKNOWN} {last}{digest}"
