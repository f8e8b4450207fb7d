"""The layout of the API's folder: rules that import-linter cannot hold."""

from pathlib import Path

import api

FOLDER = Path(api.__file__).parent


def test_nothing_lies_beside_the_folders_but_the_app_its_document_its_keys_and_its_dependencies() -> None:
    assert {file.name for file in FOLDER.glob("*.py")} == {
        "__init__.py",
        "auth.py",
        "dependencies.py",
        "document.py",
        "main.py",
    }


def test_the_console_has_no_python() -> None:
    assert list((FOLDER / "console").rglob("*.py")) == []


def test_no_import_is_for_type_checkers_alone() -> None:
    """Such imports make circles of modules work, and so hide them."""
    assert [file.name for file in FOLDER.rglob("*.py") if "TYPE_CHECKING" in file.read_text()] == []
