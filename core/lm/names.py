"""Names of a model's parts, for people who mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def near(wanted: str, names: Iterable[str]) -> str:
    """`; near it: …` with at most three names that look alike, or nothing."""
    found = get_close_matches(wanted, list(dict.fromkeys(names)), n=3, cutoff=0.4)
    return f"; near it: {', '.join(found)}" if found else ""
