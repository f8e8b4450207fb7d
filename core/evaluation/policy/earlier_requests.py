"""A judgement's warnings about the text that earlier jobs made the model forget."""

from collections.abc import Mapping, Sequence

from core.schema.previously_forgotten import PreviouslyForgotten, Unmeasured

_REASONS: Mapping[Unmeasured | None, str] = {
    "deleted": "it is no longer stored",
    "unreadable": "it is stored, but could not be read",
    "no_figures": "none of the sampled records has figures to compare with",
    None: "it is no longer stored, or could not be read",
}


def describe_earlier(entries: Sequence[PreviouslyForgotten]) -> list[str]:
    """Returns a sentence for each job whose text has come back, and one for each reason why text was not measured."""
    sentences = [_describe_returned(entry) for entry in entries if entry.state == "returned"]
    for reason, words in _REASONS.items():
        if jobs := [entry.job for entry in entries if entry.state == "not_measured" and entry.reason == reason]:
            earlier = f"{jobs[0]} made" if len(jobs) == 1 else f"{len(jobs)} earlier jobs made"
            sentences.append(
                f"whether the text that {earlier} the model forget is still forgotten could not be measured: {words}"
            )
    return sentences


def _describe_returned(entry: PreviouslyForgotten) -> str:
    counted = f"{entry.returned} of {entry.measured} measured records"
    if entry.then is None:
        return (
            f"text that {entry.job} had to forget comes out of the model: {counted}. They do not count, because that"
            " job kept no figures to compare with"
        )
    return f"text that {entry.job} made the model forget has come back: {counted}"
