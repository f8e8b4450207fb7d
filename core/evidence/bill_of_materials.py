"""A checkpoint as a CycloneDX ML-BOM (cyclonedx.org, version 1.6): its files, its origin, and its figures.

It is written here because PyPI `cyclonedx-python-lib` knows no model cards; the tests validate with its schema.
"""

import uuid
from collections.abc import Iterator
from typing import Any

from core.evidence.statement import checkpoint_files
from core.schema.evaluation import Figure, Measurements
from core.schema.report import Report

SPEC_VERSION = "1.6"
_NAMESPACE = uuid.UUID("6d1f4c7e-2f5d-5b7a-9f43-0a1c0e6f2b11")
"""Any constant: the same report always gets the same serial number."""


def make_bill_of_materials(report: Report) -> dict[str, Any]:
    """Returns the bill of materials of a job's checkpoint. NoCheckpoint."""
    files = checkpoint_files(report)
    checkpoint = report.checkpoint
    if checkpoint is None:  # pragma: no cover - checkpoint_files has raised
        raise AssertionError
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": checkpoint.id,
        "name": report.model.id,
        "version": checkpoint.id,
        "description": " ".join(report.summary),
        "hashes": [{"alg": "SHA-256", "content": checkpoint.digest}],
        "components": [
            {
                "type": "file",
                "bom-ref": f"{checkpoint.id}/{file.path}",
                "name": file.path,
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
            }
            for file in files
        ],
        "pedigree": {"ancestors": [_ancestor(report)]},
        "modelCard": _model_card(report),
        "properties": _properties({"job": report.job, "output": checkpoint.output, "bytes": checkpoint.bytes}),
    }
    environment = report.environment
    libraries = [] if environment is None else list(environment.libraries.items())
    tools = [{"type": "library", "name": name, "version": version} for name, version in libraries]
    if environment is not None:
        service = {"type": "application", "name": "unlearning-service", "version": environment.service_version}
        tools = [service, *tools]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, checkpoint.id)}",
        "version": 1,
        "metadata": {
            "timestamp": report.deadline.ended_at.isoformat(),
            "tools": {"components": tools},
            "component": component,
        },
    }


def _ancestor(report: Report) -> dict[str, Any]:
    model = report.model
    ancestor: dict[str, Any] = {
        "type": "machine-learning-model",
        "name": model.repository or model.id,
        "version": model.start_checkpoint or model.revision or "registered",
    }
    digest = model.start_digest or model.registered_digest
    return ancestor | ({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest else {})


def _model_card(report: Report) -> dict[str, Any]:
    after = report.figures.after
    datasets = [
        {
            "type": "dataset",
            "name": f"{used.name} {number}",
            "description": f"{used.records} records, used as the set {used.name}",
            **({"sensitiveData": ["the text that the model had to forget"]} if used.name == "forget" else {}),
        }
        for number, used in enumerate(report.data, 1)
    ]
    parameters: dict[str, Any] = {"datasets": datasets}
    properties: dict[str, Any] = {}
    if report.treatment is not None:
        method = report.treatment.method
        parameters["approach"] = {"type": "self-supervised"}
        properties = {"method": method.name, "steps": report.treatment.steps}
        properties |= {f"training.{name}": value for name, value in report.treatment.training.model_dump().items()}
    if report.verdict is not None:
        properties |= {"policy": report.verdict.policy.name, "verdict": report.verdict.result}
    return {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": [] if after is None else list(_metrics(after))},
        "considerations": {"technicalLimitations": report.not_proved},
        "properties": _properties(properties),
    }


def _metrics(measured: Measurements) -> Iterator[dict[str, Any]]:
    for name, figures in measured.sets.items():
        for kind, figure in figures.items():
            yield _metric(kind, figure, name)
    for attack, result in measured.attacks.items():
        yield _metric("auc", result.auc, attack)


def _metric(kind: str, figure: Figure, part: str) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": kind, "value": repr(figure.value), "slice": part}
    if figure.low is not None and figure.high is not None:
        interval = {"lowerBound": repr(figure.low), "upperBound": repr(figure.high)}
        metric["confidenceInterval"] = interval
    return metric


def _properties(values: dict[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": f"unlearning-service:{name}", "value": str(value)}
        for name, value in values.items()
        if value is not None
    ]
