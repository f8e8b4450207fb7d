"""`unlearn verify`: checks evidence without the service."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from core.evidence.audit_log import check_audit_log
from core.evidence.findings import Findings
from core.schema.signing_keys import SigningKeySet

out = Console(highlight=False, soft_wrap=True, markup=False)

FAILED = 1
"""The exit code where something does not hold."""


def verify(
    evidence: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An exported audit log, audit.jsonl.")],
    keys: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The signer's public keys: /.well-known/jwks.json, saved."),
    ] = None,
) -> None:
    """Check evidence without the service: names each place that does not hold, and what was not checked.

    Exit codes: 0 everything that was checked holds; 1 something does not hold; 2 the command was called wrongly.
    """
    key_set = _read_keys(keys)
    with evidence.open("rb") as lines:
        findings = check_audit_log(lines, key_set)
    _print(findings)
    if not findings.holds:
        raise typer.Exit(FAILED)


def _read_keys(file: Path | None) -> SigningKeySet | None:
    if file is None:
        return None
    try:
        return SigningKeySet.model_validate_json(file.read_bytes())
    except ValidationError:
        raise typer.BadParameter(
            "it is not a file of public keys as /.well-known/jwks.json", param_hint="--keys"
        ) from None


def _print(findings: Findings) -> None:
    for failure in findings.failures:
        out.print(f"FAILED       {failure}")
    for checked in findings.checked:
        out.print(f"holds        {checked}")
    for unchecked in findings.unchecked:
        out.print(f"not checked  {unchecked}")
