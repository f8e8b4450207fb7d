"""Parameters of methods and measurements as Markdown, from the JSON schema that also checks them."""

from collections.abc import Iterator, Mapping
from typing import Any

REQUIRED = object()
"""Stands in for the default of a parameter that has none."""


def parameter_rows(properties: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[str]:
    """Yields the rows of a Markdown table: name, default, allowed values, meaning."""
    for name, schema in properties.items():
        cells = (f"`{name}`", _value(defaults[name]), _allowed(schema), schema.get("description", ""))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(value: Any) -> str:
    if value is REQUIRED:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return number_text(value) if isinstance(value, int | float) else f"`{value}`"


def _allowed(schema: Mapping[str, Any]) -> str:
    """Returns a parameter's bounds or choices in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(option) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    types = {"null": "none", "boolean": "true, false", "integer": "whole number", "array": "list of strings"}
    words = [types.get(schema["type"], schema["type"])]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    words += [f"{sign} {number_text(schema[bound])}" for bound, sign in signs.items() if bound in schema]
    if "maxItems" in schema:
        words.append(f"{schema.get('minItems', 0)} to {schema['maxItems']} of them")
    return ", ".join(words)


def number_text(value: float) -> str:
    """Returns the number without trailing zeros."""
    return f"{value:.10g}"
