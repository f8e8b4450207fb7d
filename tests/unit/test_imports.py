"""Only a program's entry point may change the environment: it is everybody's who imports a module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "api", "worker", "benchmarks")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.name != "__main__.py")
ALLOWED = ["core/__init__.py"]
"""It sets how OpenMP's threads wait, which must be set before anything imports torch, in every process."""
CHANGES = ("update", "setdefault", "pop", "clear")


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yields everything that importing a module runs: all but what its functions hold."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def is_environment(node: ast.AST) -> bool:
    return ast.unparse(node) in ("os.environ", "environ")


def changes_environment(source: str) -> bool:
    """Returns whether importing this module changes `os.environ`."""
    for node in run_at_import(ast.parse(source).body):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and is_environment(node.value):
            return True
        if isinstance(node, ast.Attribute) and node.attr in CHANGES and is_environment(node.value):
            return True
    return False


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("import os\nos.environ.update(A='1')", True),
        ("import os\nif True:\n    os.environ['A'] = '1'", True),
        ("import os\nfor name in ():\n    os.environ.setdefault(name, '1')", True),
        ("import os\ndef main():\n    os.environ['A'] = '1'", False),
        ("import os\nSEEN = os.environ.get('A')", False),
    ],
)
def test_a_change_is_recognised(source: str, changes: bool) -> None:
    assert changes_environment(source) is changes


def test_no_import_changes_the_environment() -> None:
    assert len(MODULES) > 300
    assert [str(path.relative_to(ROOT)) for path in MODULES if changes_environment(path.read_text())] == ALLOWED
