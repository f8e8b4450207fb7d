"""Older names of fields: requests may still use them, answers still hold them, the OpenAPI document marks them."""

from typing import Any

DEPRECATED: dict[str, Any] = {"deprecated": True}


def resolve_alias(value: str | None, older: str | None, name: str, older_name: str) -> str | None:
    """Returns the value given under a field's name or under its older name. ValueError: the two differ."""
    if value is not None and older is not None and value != older:
        raise ValueError(f"{older_name} is the older name of {name}: give one of them")
    return older if value is None else value
