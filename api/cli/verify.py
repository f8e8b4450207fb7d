"""`unlearn verify`: checks evidence without the service."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.evidence.audit_log import check_audit_log
from core.evidence.findings import Findings

out = Console(highlight=False, soft_wrap=True, markup=False)

FAILED = 1
"""The exit code where something does not hold."""


def verify(
    evidence: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An exported audit log, audit.jsonl.")],
) -> None:
    """Check evidence without the service: names each place that does not hold, and what was not checked.

    Exit codes: 0 everything that was checked holds; 1 something does not hold; 2 the command was called wrongly.
    """
    with evidence.open("rb") as lines:
        findings = check_audit_log(lines)
    _print(findings)
    if not findings.holds:
        raise typer.Exit(FAILED)


def _print(findings: Findings) -> None:
    for failure in findings.failures:
        out.print(f"FAILED       {failure}")
    for checked in findings.checked:
        out.print(f"holds        {checked}")
    for unchecked in findings.unchecked:
        out.print(f"not checked  {unchecked}")
