"""What was to be forgotten, from which model, by which method, on which code and machine."""

from api.reports.blocks import Block, Cell, Code, Facts, Paragraph, Section, Table
from api.reports.words import NONE, bytes_text, code_or_none, time_text
from core.report.glossary import ORIGINS, SETS
from core.schema.jobs import SetUsed
from core.schema.report import Report, ReportPurge

_KINDS = {"in_distribution": "like the text to forget", "general": "of any other kind"}
_PARTS = {"trains": "training only", "measures": "measuring only", None: "one half trains, the other half measures"}
_DATA = (
    "This report holds no text of any record. It names each set by the number of its records and by the sha256 digest"
    " of its file: whoever has the file can compute the digest and see that it is the same file. Text that was sent"
    " inside the request has no digest here, because the content of a short text can be guessed from its digest. For"
    " the same reason a deleted file has an HMAC in its place, a digest that only the service's operator can compute."
)


def data(report: Report) -> Section:
    """Returns the data sets, and the deletion of the text to forget."""
    rows = [
        [
            _set_text(used.name, used.kind),
            f"{used.records:,}",
            "training and measuring" if used.name == "forget" else _PARTS[used.part],
            NONE if used.origin is None else ORIGINS[used.origin],
            _digest(used),
        ]
        for used in report.data
    ]
    blocks: list[Block] = [
        Paragraph(_DATA),
        Table("The data sets", ["Set", "Records", "Used for", "Comes from", "sha256 of the file"], rows),
    ]
    if report.purge:
        purged: list[list[Cell]] = [[Code(purge.file), _purge_text(purge)] for purge in report.purge]
        blocks.append(Table("The files with text to forget", ["File", "State"], purged))
    return Section("What was to be forgotten", blocks)


def _digest(used: SetUsed) -> Cell:
    return Code(f"HMAC: {used.hmac_sha256}") if used.hmac_sha256 else code_or_none(used.sha256)


def _set_text(name: str, kind: str | None) -> str:
    words = next(words for known, words in SETS.items() if known == name)
    return f"{words}, {_KINDS[kind]}" if kind in _KINDS else words


def _purge_text(purge: ReportPurge) -> str:
    if purge.deleted:
        at = f" on {time_text(purge.deleted_at)}" if purge.deleted_at else ""
        return f"Deleted{at}: its encryption key was destroyed, so that its bytes cannot be read again."
    if purge.expires_at is None:
        return "Kept, encrypted."
    return f"Kept, encrypted; the service deletes it by itself after {time_text(purge.expires_at)}."


def making(report: Report) -> Section:
    """Returns the model, the method, the code and the machine."""
    blocks: list[Block] = [Facts(_model(report))]
    if report.treatment is not None:
        method = report.treatment.method
        if method.summary:
            blocks.append(
                Paragraph(f"What the method “{method.name}” does, in the words of the field: {method.summary}")
            )
        source = f"{method.paper}, {method.paper_url}" if method.paper else NONE
        facts: list[tuple[str, Cell]] = [("Method", method.name), ("Source of the method", source)]
        facts.append(("Training updates", NONE if report.treatment.steps is None else f"{report.treatment.steps:,}"))
        facts.append(("Settings", "in the annex"))
        blocks.append(Facts(facts))
    blocks.append(_environment(report))
    if report.cost is not None:
        blocks.append(Facts(_cost(report)))
    return Section("How it was done: model, method, code and machine", blocks)


def _model(report: Report) -> list[tuple[str, Cell]]:
    model = report.model
    start = "the registered model itself" if model.start_checkpoint is None else Code(model.start_checkpoint)
    facts: list[tuple[str, Cell]] = [("Model", model.id), ("Started from", start)]
    if report.shared_run:
        facts.append(("Changed together with", ", ".join(report.shared_run)))
    if model.repository is not None:
        facts += [("Repository", model.repository), ("Commit", code_or_none(model.revision))]
    facts += [
        ("Digest of the registered files", code_or_none(model.registered_digest)),
        ("Digest of the files it started from", code_or_none(model.start_digest)),
    ]
    if model.retrained_model is not None:
        facts += [
            ("Retrained model", model.retrained_model),
            ("Digest of the retrained model", code_or_none(model.retrained_digest)),
        ]
    return facts


def _environment(report: Report) -> Block:
    environment = report.environment
    if environment is None:
        return Paragraph("The code and the machine were not recorded: no attempt at this job came so far.")
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(environment.libraries.items()))
    device = environment.device if environment.devices == 0 else f"{environment.devices} × {environment.device}"
    return Facts(
        [
            ("Service", f"version {environment.service_version}"),
            ("Digest of its code", Code(environment.code_digest)),
            ("Digest of the code that measures", Code(environment.measuring_digest)),
            ("Python and libraries", f"Python {environment.python}, {libraries}"),
            ("Machine", f"{environment.processor}; {environment.system}"),
            ("Computed on", f"{device}, {environment.threads} thread{'s' * (environment.threads != 1)}"),
        ]
    )


def _cost(report: Report) -> list[tuple[str, Cell]]:
    cost = report.cost
    if cost is None:
        return []
    facts: list[tuple[str, Cell]] = [("Time", f"{sum(cost.seconds.values()):,.0f} seconds")]
    facts.append(("Memory at its peak", bytes_text(cost.peak_host_bytes)))
    if cost.peak_device_bytes is not None:
        facts.append(("Memory of a GPU at its peak", bytes_text(cost.peak_device_bytes)))
    if cost.changed_share is not None:
        facts.append(("Weights that changed", f"{cost.changed_share:.1%}; this does not say by how much"))
    return facts
