"""Names of a model's parts: what patterns stand for, and what is near one that stands for nothing."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase


def is_weight(name: str, pattern: str) -> bool:
    """Whether a pattern of `training.trainable` means this weight: its whole name, `*` and `?` as in a shell."""
    return fnmatchcase(name, pattern)


def is_module(name: str, pattern: str) -> bool:
    """Whether a pattern of `training.lora.modules` means this module: its whole name or the end of it, by whole parts
    (`q_proj`, `mlp.up_proj`), `*` and `?` as in a shell."""
    return fnmatchcase(f".{name}", f"*.{pattern}")


def suggest_names(wanted: str, names: Iterable[str]) -> str:
    """`; near it: …` with at most three names that look alike, or nothing."""
    found = get_close_matches(wanted, list(dict.fromkeys(names)), n=3, cutoff=0.4)
    return f"; near it: {', '.join(found)}" if found else ""
