"""Nothing assigns a job's status but `core/records/job_status.py`: the source of the whole service is read for it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OWNER = Path("core/records/job_status.py")
RAW_UPDATE = re.compile(r"\b(update|insert\s+into)\s+jobs\b", re.IGNORECASE)


def sources() -> list[Path]:
    folders = ("api", "benchmarks", "core", "worker")
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def status_writes(source: str) -> Iterator[int]:
    """Line numbers of every statement that may write `jobs.status`.

    An exception's or answer's own `self.status` is none: no method of a table's row assigns one. Nor is the status of a
    webhook's delivery, whose rows have that name.
    """
    tree = ast.parse(source)
    uses_jobs = any(isinstance(node, ast.Name) and node.id == "JobRow" for node in ast.walk(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="status", ctx=ast.Store() | ast.Del(), value=value):
                if not (isinstance(value, ast.Name) and value.id in ("self", "delivery_row")):
                    yield node.lineno
            case ast.Call(func=ast.Name(id="setattr"), args=[_, ast.Constant(value="status"), *_]):
                yield node.lineno
            case ast.Call(func=ast.Name(id="JobRow")) if _names_status(node):
                yield node.lineno
            case ast.Call(func=ast.Attribute(attr="values")) if uses_jobs and _names_status(node):
                yield node.lineno
            case ast.Constant(value=str(text)) if RAW_UPDATE.search(text):
                yield node.lineno


def _names_status(call: ast.Call) -> bool:
    """Whether the call has a keyword `status`, or a mapping with that key, among its arguments."""
    keys = [keyword.arg for keyword in call.keywords]
    for argument in [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg is None)]:
        if isinstance(argument, ast.Dict):
            keys += [key.value if isinstance(key, ast.Constant) else ast.unparse(key) for key in argument.keys if key]
    return "status" in keys or "JobRow.status" in keys


@pytest.mark.parametrize(
    "statement",
    [
        "row.status = 'failed'",
        "row.status, row.error = 'failed', error",
        "(await session.get(JobRow, job)).status = 'failed'",
        "for row.status in ('queued', 'failed'): pass",
        "setattr(row, 'status', 'failed')",
        "JobRow(id=job, status='running')",
        "JobRow(**{'status': 'running'})",
        "update(JobRow).where(JobRow.id == job).values(status='failed')",
        "update(JobRow).values({'status': 'failed'})",
        "update(JobRow).values({JobRow.status: 'failed'})",
        "session.execute(text('UPDATE jobs SET status = :status'))",
    ],
)
def test_each_way_to_write_a_status_is_seen(statement: str) -> None:
    assert list(status_writes(f"async def write() -> None:\n    {statement}\n"))


def test_reading_a_status_is_no_write() -> None:
    reading = "query = select(JobRow).where(JobRow.status == 'queued')\nnow = row.status\nself.status = 404\n"
    assert not list(status_writes(reading))


def test_no_other_module_writes_a_jobs_status() -> None:
    writes = {path: list(status_writes((ROOT / path).read_text())) for path in sources()}
    assert writes.pop(OWNER), "the owner writes it"
    assert {path.as_posix(): lines for path, lines in writes.items() if lines} == {}
