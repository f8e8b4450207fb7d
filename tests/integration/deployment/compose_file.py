"""docker-compose.yml as Compose reads it: YAML with anchors, then interpolation, in the forms that this file uses."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docker-compose.yml"

PASSWORDS = {
    name: letter * 64
    for name, letter in {
        "POSTGRES_PASSWORD": "a",
        "REDIS_PASSWORD": "b",
        "SERVICE_DB_PASSWORD": "c",
        "SIGNER_DB_PASSWORD": "d",
    }.items()
}
"""The variables without a default."""

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<operator>:-|:\?)(?P<word>[^}]*))?\}|(?P<odd>.?))")


class MissingVariable(Exception):
    """A required variable is not set, or empty."""


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """Returns the file with every `${NAME}` replaced. MissingVariable for a `${NAME:?…}` without a value."""
    compose: dict[str, Any] = _interpolate(yaml.safe_load(FILE.read_text()), variables)
    return compose


def _interpolate(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _interpolate(value, variables) for name, value in node.items()}
    if isinstance(node, list):
        return [_interpolate(value, variables) for value in node]
    return _VARIABLE.sub(lambda match: _value(match, variables), node) if isinstance(node, str) else node


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    """Returns a variable's value (Compose specification, "Interpolation"). ValueError: a form that is not used here."""
    if match["escaped"]:
        return "$"
    if match["name"] is None:
        raise ValueError(f"not a form of interpolation that is used here: {match[0]}")
    value = variables.get(match["name"], "")
    if match["operator"] == ":-":
        return value or match["word"]
    if match["operator"] == ":?" and not value:
        raise MissingVariable(f"{match['name']}: {match['word']}")
    return value


def read_env(path: Path) -> dict[str, str]:
    """Returns the variables of an .env file of NAME=VALUE lines, without quotes."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
