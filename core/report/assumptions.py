"""The assumptions of a verdict, in sentences: text that the service made in place of text that people wrote."""

from collections.abc import Sequence

from core.report.numbers import records_text
from core.schema.jobs import SetUsed

_HOW = {
    "made_by_swapping": "copies of the text to forget with other names, numbers, places and dates",
    "made_by_the_model": "text that the model wrote by itself",
}
_INSTEAD = {"retain": "text to keep", "unseen": "text that the model had not seen before the job"}


def list_assumptions(data: Sequence[SetUsed]) -> list[str]:
    """Returns a sentence or two for each set that the service made: what it is, and what the verdict then assumes."""
    return [
        f"Nobody named {_INSTEAD.get(used.name, used.name)}, so the service made {records_text(used.records)} itself:"
        f" {_HOW[used.origin]}. {_use(used)}"
        for used in data
        if used.origin in _HOW
    ]


def _use(used: SetUsed) -> str:
    if used.name != "retain":
        return (
            "They only set how far the text had to be forgotten. Whether it can be told that the model has seen the"
            " text is not judged by them."
        )
    if used.part == "trains":
        return "They only trained the model; the verdict does not rest on them."
    return (
        "The verdict assumes that a model which still handles these as before also handles real text as before. Text"
        " that people wrote may have suffered unseen."
    )
