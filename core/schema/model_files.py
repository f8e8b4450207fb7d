"""JSON files and links of a model directory, and the error of a directory that cannot be used."""

import json
from pathlib import Path
from typing import Any

from core.schema.errors import DomainError, Identifier, OwnWords


class UnusableModel(DomainError, ValueError):
    """The reason why a directory cannot be registered, for the person who tried; names files, never their folder."""

    status, pointer = 422, "/source"

    def __init__(self, code: Identifier, message: OwnWords) -> None:
        self.problem = self.code = code
        self.detail = message
        super().__init__()


def read_json(directory: Path, name: str, *, needed: bool = True) -> dict[str, Any]:
    """Returns the object in a JSON file; empty where the file is absent and not `needed`. Raises UnusableModel."""
    path = directory / name
    if not path.is_file():
        if needed:
            raise UnusableModel("model-incomplete", f"there is no {name} in the directory")
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UnusableModel("model-incomplete", f"{name} is not valid JSON") from None
    if not isinstance(content, dict):
        raise UnusableModel("model-incomplete", f"{name} does not hold an object")
    return content


def refuse_links_outside(directory: Path, root: Path) -> None:
    """Raises UnusableModel where a link of the directory leads out of `root`."""
    for path in (directory, *directory.rglob("*")):
        if not path.resolve().is_relative_to(root):
            raise UnusableModel("unsafe-model", f"'{path.name}' leads out of the allowed folder")
