"""What a judgement says of the text that earlier jobs made the model forget."""

from collections.abc import Sequence

from core.schema.previously_forgotten import PreviouslyForgotten


def describe_earlier(entries: Sequence[PreviouslyForgotten]) -> list[str]:
    """Returns a sentence for each earlier job whose text has come back, and one for all whose text is deleted."""
    sentences = [_describe_returned(entry) for entry in entries if entry.state == "returned"]
    if gone := [entry.job for entry in entries if entry.state == "not_measured"]:
        jobs = f"{gone[0]} made" if len(gone) == 1 else f"{len(gone)} earlier jobs made"
        sentences.append(
            f"whether the text that {jobs} the model forget is still forgotten could not be measured: it is no longer"
            " stored"
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
