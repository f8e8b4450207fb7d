"""Patterns of a model's weights and modules, and suggestions for a pattern that matches nothing."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase


def matches_weight(name: str, pattern: str) -> bool:
    """Whether a pattern of `training.trainable` matches a weight: its full name, with `*` and `?` as in a shell."""
    return fnmatchcase(name, pattern)


def matches_module(name: str, pattern: str) -> bool:
    """Whether a pattern of `training.lora.modules` matches a module: its full name or the last parts of it (`q_proj`,
    `mlp.up_proj`), with `*` and `?` as in a shell.
    """
    return fnmatchcase(f".{name}", f"*.{pattern}")


def suggest_names(pattern: str, names: Iterable[str]) -> str:
    """Returns `; near it: …` with at most three similar names; empty where there is none."""
    matches = get_close_matches(pattern, list(dict.fromkeys(names)), n=3, cutoff=0.4)
    return f"; near it: {', '.join(matches)}" if matches else ""
