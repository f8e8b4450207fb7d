"""Examples for the OpenAPI document, composed from the examples, defaults and types of the schemas' fields.

A field's own `examples` come first. So a route that is new has examples without further work, and they are valid: they
follow the schema that the document shows.
"""

import re
from collections.abc import Mapping
from typing import Any

from api.http.samples import EARLY, ID, NAMES, SAMPLES, SHA256

Schema = Mapping[str, Any]

_ID = re.compile(r"`([a-z]+)-…`")
_DIGEST = re.compile(r"sha256|digest|hash")
_FORMATS = {"date-time": EARLY, "date": "2026-12-28", "uri": NAMES["url"]}


def compose(schema: Schema, components: Mapping[str, Schema], *, name: str = "", request: bool = False) -> Any:
    """Returns a value that follows the schema. Of a `request`, only the fields that it needs, or that have examples."""
    if "$ref" in schema:
        component = schema["$ref"].rpartition("/")[2]
        composed = compose(components[component], components, name=name, request=request)
        if not isinstance(composed, dict):
            return composed
        return composed | {field: value for field, value in SAMPLES.get(component, {}).items() if field in composed}
    if "examples" in schema:
        return schema["examples"][0]
    for constant in ("const", "default"):
        if constant in schema:
            return schema[constant]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            kinds = schema[choice]
            if any(kind.get("type") == "null" for kind in kinds):
                return None
            return compose(kinds[0], components, name=name, request=request)
    match schema.get("type"):
        case "object":
            return _compose_object(schema, components, request=request)
        case "array":
            return _compose_array(schema, components, name=name, request=request)
        case "string":
            return _compose_text(schema, name)
        case "integer":
            return int(schema.get("minimum", 1))
        case "number":
            return schema.get("minimum", 1.0)
        case "boolean":
            return True
    return None


def _compose_object(schema: Schema, components: Mapping[str, Schema], *, request: bool) -> dict[str, Any]:
    required = schema.get("required", [])
    fields = {
        field: property
        for field, property in schema.get("properties", {}).items()
        if not request or field in required or "examples" in property
    }
    value = {field: compose(property, components, name=field, request=request) for field, property in fields.items()}
    if "data" in value and "first_id" in value and value["data"]:  # a page
        first = value["data"][0]
        key = first.get("id") or first.get("name") or str(first.get("seq"))
        value |= {"first_id": key, "last_id": key, "has_more": False}
    return value


def _compose_array(schema: Schema, components: Mapping[str, Schema], *, name: str, request: bool) -> list[Any]:
    if "prefixItems" in schema:
        return [compose(item, components, name=name, request=request) for item in schema["prefixItems"]]
    return [compose(schema["items"], components, name=name, request=request)] if schema.get("items") else []


def _compose_text(schema: Schema, name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if prefix := _ID.search(schema.get("description", "")):
        return f"{prefix[1]}-{ID}"
    if _DIGEST.search(name):
        return SHA256
    return NAMES.get(name, "…")
