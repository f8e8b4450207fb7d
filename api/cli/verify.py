"""`unlearn verify`: checks evidence without the service."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console

from api.cli.exit_codes import NOT_MEASURED, REFUSED
from api.cli.output import JsonOption, json_text
from api.cli.rejudge import check_verdict
from api.cli.remeasure import NotMeasured, Texts, check_files, given_files, remeasure
from core.evidence.audit_log import check_audit_log
from core.evidence.findings import Findings
from core.evidence.statement_check import check_statement
from core.schema.envelopes import Envelope
from core.schema.signing_keys import SigningKeySet

out = Console(highlight=False, soft_wrap=True, markup=False)

File = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="The job's file of this set.")]


def verify(
    evidence: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="A statement (statement.json) or an audit log (audit.jsonl)."),
    ],
    checkpoint: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The directory of the checkpoint's files.")
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The signer's public keys: /.well-known/jwks.json, saved."),
    ] = None,
    remeasure_figures: Annotated[
        bool, typer.Option("--remeasure", help="Make every figure again and compare. Needs the job's files.")
    ] = False,
    forget: File = None,
    retain: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="The job's retain files. May be repeated.")
    ] = None,
    unseen: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="The job's unseen files. May be repeated.")
    ] = None,
    general: File = None,
    probes: File = None,
    protected: File = None,
    before: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The model that the job started from.")
    ] = None,
    retrained_model: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The job's retrained model, where it had one.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="The dtype that the model was registered with."),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default: as many as the job had.")] = None,
    benchmark_tasks: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="A directory of tasks for 'benchmarks'.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check evidence without the service: names each place that does not hold, and what was not checked.

    Exit codes: 0 everything that was checked holds; 1 something does not hold; 2 the command was called wrongly; 3 what
    was checked holds, but the figures could not be made again.
    """
    key_set, findings = _read_keys(keys), Findings()
    envelope = _read_envelope(evidence)
    if envelope is None:
        if checkpoint is not None or remeasure_figures:
            raise typer.BadParameter(f"{evidence.name} is not a statement in an envelope")
        with evidence.open("rb") as lines:
            _finish(check_audit_log(lines, key_set), as_json=as_json)
        return
    if remeasure_figures and (checkpoint is None or forget is None):
        raise typer.BadParameter("it needs --checkpoint and --forget", param_hint="--remeasure")
    for option, directory in (
        ("--before", before),
        ("--retrained-model", retrained_model),
        ("--benchmark-tasks", benchmark_tasks),
    ):
        if directory is not None and not remeasure_figures:
            raise typer.BadParameter("without --remeasure nothing is measured with it", param_hint=option)
    statement = check_statement(envelope, findings, keys=key_set, checkpoint=checkpoint)
    if statement is None:
        _finish(findings, as_json=as_json)
        return
    report = statement.predicate.report
    check_verdict(report, findings)
    not_measured = False
    texts = Texts(
        forget=forget,
        retain=retain or [],
        unseen=unseen or [],
        general=general,
        probes=probes,
        protected=protected,
        before=before,
        retrained=retrained_model,
        dtype=dtype,
        threads=threads,
        benchmark_tasks=benchmark_tasks,
    )
    if not remeasure_figures or checkpoint is None:
        check_files(report.data, given_files(texts), findings)
        findings.unchecked.append("the figures: --remeasure makes them again from the job's files")
    else:
        try:
            remeasure(report, checkpoint, texts, findings)
        except NotMeasured as failure:
            not_measured = True
            findings.unchecked.append(f"the figures: they could not be made again: {failure}")
    findings.unchecked.append("what only the service can know: who asked and when, and that the text was deleted there")
    _finish(findings, as_json=as_json, otherwise=NOT_MEASURED if not_measured else 0)


def _read_envelope(file: Path) -> Envelope | None:
    """Returns the envelope; None: the file holds something else, such as an audit log."""
    with file.open("rb") as content:
        if b'"payloadType"' not in content.read(1 << 12) and file.suffix != ".json":
            return None
    try:
        return Envelope.model_validate_json(file.read_bytes())
    except ValidationError:
        if file.suffix != ".json":
            return None
        raise typer.BadParameter(f"{file.name} is not a statement in an envelope") from None


def _read_keys(file: Path | None) -> SigningKeySet | None:
    if file is None:
        return None
    try:
        return SigningKeySet.model_validate_json(file.read_bytes())
    except ValidationError:
        message = "it is not a file of public keys as /.well-known/jwks.json"
        raise typer.BadParameter(message, param_hint="--keys") from None


def _finish(findings: Findings, *, as_json: bool, otherwise: int = 0) -> None:
    """Prints the findings. Ends the command with code 1 where something failed, else with `otherwise`."""
    code = otherwise if findings.holds else REFUSED
    if as_json:
        lists = {"failed": findings.failures, "holds": findings.checked, "not_checked": findings.unchecked}
        typer.echo(json_text({**lists, "exit_code": code}))
        raise typer.Exit(code)
    for failure in findings.failures:
        out.print(f"FAILED       {failure}")
    for checked in findings.checked:
        out.print(f"holds        {checked}")
    for unchecked in findings.unchecked:
        out.print(f"not checked  {unchecked}")
    if code:
        raise typer.Exit(code)
