"""A test's request must outlast a stall of a shared machine: httpx gives up after five seconds where nobody says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1]
SENDERS = {"get", "put", "post", "delete", "patch", "head", "options", "request", "stream", "Client", "AsyncClient"}


def impatient(source: str) -> Iterator[int]:
    """Yields the line of every call of httpx that names no timeout; one inside this process needs none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDERS:
            said = {keyword.arg for keyword in node.keywords}
            if ast.unparse(node.func.value) == "httpx" and not said & {"timeout", "transport", None}:
                yield node.lineno


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("httpx.get(url)", [1]),
        ("httpx.AsyncClient(\n    base_url=url)", [1]),
        ("httpx.get(url, timeout=60)", []),
        ("httpx.Client(transport=inside)", []),
        ("client.get(url)", []),
    ],
)
def test_a_call_without_a_timeout_is_recognised(source: str, lines: list[int]) -> None:
    assert list(impatient(source)) == lines


def test_every_request_of_the_tests_names_its_timeout() -> None:
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) > 400
    found = [f"{path.relative_to(FOLDER)}:{line}" for path in files for line in impatient(path.read_text())]
    assert found == []
