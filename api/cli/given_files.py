"""The files that a third party gives, matched with the sets of a job."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.schema.evaluation import SetName
from core.schema.jobs import SetUsed


@dataclass(frozen=True)
class GivenFile:
    """A file with the option that names it, such as `retain`, and the sha256 of its bytes."""

    name: str
    path: Path
    sha256: str


def is_made(used: SetUsed) -> bool:
    """Returns whether the job made the set itself. There is no file of such a set."""
    return (used.origin or "").startswith("made")


def measured_as(used: SetUsed) -> SetName:
    """Returns the set in which the records are measured: retain text of the kind `general` in `general`."""
    return "general" if used.kind == "general" else used.name


def match_files(data: Sequence[SetUsed], files: Sequence[GivenFile]) -> list[tuple[SetUsed, Path | None]]:
    """Returns the sets in the job's order, each with its file; None: it is not among the files.

    A set is matched by its digest. A set without one is the file of its name whose digest no set has. Where a name has
    several such sets, nobody can tell which file is which, so that none of them is matched.
    """
    by_digest = {(file.name, file.sha256): file.path for file in files}
    without_digest = Counter(used.name for used in data if used.sha256 is None and not is_made(used))
    matched: list[tuple[SetUsed, Path | None]] = []
    for used in data:
        if used.sha256 is not None:
            path = by_digest.get((used.name, used.sha256))
        elif is_made(used) or without_digest[used.name] > 1:
            path = None
        else:
            candidates = unknown_files(data, files, used.name)
            path = candidates[0].path if len(candidates) == 1 else None
        matched.append((used, path))
    return matched


def unknown_files(data: Sequence[SetUsed], files: Sequence[GivenFile], name: str) -> list[GivenFile]:
    """Returns the files of this name whose digest no set has."""
    stated = {used.sha256 for used in data if used.name == name}
    return [file for file in files if file.name == name and file.sha256 not in stated]
