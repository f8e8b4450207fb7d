"""What is not proved, how to check the report, and the annex: all figures, their meanings, and the files."""

import re

from api.reports.blocks import Block, Bullets, Cell, Code, Command, Facts, Paragraph, Section, Table
from api.reports.sections.pictures import series_labels
from api.reports.words import bytes_text
from core.report.glossary import PRIVLEAK, PRIVLEAK_MEANING, SETS, attack_label, figure_meaning, figure_words
from core.report.numbers import figure_text
from core.schema.evaluation import Measurements, Moment
from core.schema.report import Report

_UNSIGNED = "This document is not itself signed; the signed statement is. Keep both."
_LEVEL = "95 % intervals"
_MOMENTS: tuple[Moment, ...] = ("before", "after", "retrained")


def not_proved(report: Report) -> Section:
    """Returns what the report does not prove."""
    return Section("What this report does not prove", [Bullets(report.not_proved)])


def checks(report: Report) -> Section:
    """Returns how the report can be checked."""
    unsigned = [] if report.checkpoint is None else [Paragraph(_UNSIGNED)]
    commands = [Command(check.text, check.command) for check in report.checks]
    return Section("How to check this report", [*unsigned, *commands])


def figures(report: Report) -> Section | None:
    """Returns a table of the figures of each set, and the meanings of their names. None: nothing was measured."""
    models = {moment: getattr(report.figures, moment) for moment in _MOMENTS}
    measured: dict[Moment, Measurements] = {moment: model for moment, model in models.items() if model is not None}
    if not measured:
        return None
    labels = series_labels(report)
    columns = ["Figure", *(labels.get(moment, moment) for moment in measured)]
    blocks: list[Block] = [
        Paragraph(
            "The aim is that the model knows no more of the text to forget than of text that it had not seen before the"
            " job, and as much of everything else as before. In parentheses stands the interval of each figure by"
            " itself, where it has one; the tests above may have wider ones. What each name means, and which way its"
            " numbers run, is said below the tables."
        )
    ]
    names: set[str] = set()
    for name, words in SETS.items():
        figure_names = sorted({figure for model in measured.values() for figure in model.sets.get(name, {})})
        names.update(figure_names)
        rows = [
            [figure_words(figure), *(figure_text(model.sets.get(name, {}).get(figure)) for model in measured.values())]
            for figure in figure_names
        ]
        if rows:
            counts = {model.records.get(name) for model in measured.values()} - {None}
            records = f"{max(count for count in counts if count is not None):,} records measured; " if counts else ""
            blocks.append(Table(f"{words[0].upper()}{words[1:]} ({records}{_LEVEL})", columns, rows))
    across = sorted({figure for model in measured.values() for figure in model.across}, key=_with_numbers)
    names.update(across)
    if across:
        rows = [
            [figure_words(figure), *(figure_text(model.across.get(figure)) for model in measured.values())]
            for figure in across
        ]
        blocks.append(Table(f"Figures of several sets or models ({_LEVEL})", columns, rows))
    attacks = sorted({attack for model in measured.values() for attack in model.attacks}, key=_with_numbers)
    if attacks:
        rows = [
            [
                attack_label(attack),
                *(
                    figure_text(found.auc if (found := model.attacks.get(attack)) else None)
                    for model in measured.values()
                ),
            ]
            for attack in attacks
        ]
        blocks.append(Table(f"AUC of each membership attack ({_LEVEL})", ["Attack", *columns[1:]], rows))
    meanings = [(figure_words(name), meaning) for name in sorted(names) if (meaning := figure_meaning(name))]
    if any(name.startswith(PRIVLEAK) for name in names):
        meanings.append(("privacy leak", PRIVLEAK_MEANING))
    if meanings:
        blocks.append(Paragraph("What the names mean:"))
        blocks.append(Facts(sorted(meanings)))
    return Section("Annex: all figures", blocks)


def _with_numbers(name: str) -> list[tuple[str, int]]:
    """The key that sorts names with numbers by these numbers: `min_k_5` before `min_k_10`."""
    return [(words, int(digits or 0)) for words, digits in re.findall(r"(\D*)(\d*)", name)]


def settings(report: Report) -> Section | None:
    """Returns all settings of the method and of the training. None: the job was not asked to change its model."""
    if report.treatment is None:
        return None
    values = {
        "the method": report.treatment.method.parameters,
        "the training": report.treatment.training.model_dump(mode="json"),
    }
    tables = [
        Table(
            f"Settings of {words}",
            ["Setting", "Value"],
            [[name, _setting_text(value)] for name, value in sorted(of_kind.items())],
        )
        for words, of_kind in values.items()
        if of_kind
    ]
    return Section("Annex: settings", tables)


def _setting_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def files(report: Report) -> Section | None:
    """Returns the files of the new model with their digests. None: there is no new model."""
    made = report.checkpoint
    if made is None:
        return None
    rows: list[list[Cell]] = [[file.path, bytes_text(file.bytes), Code(file.sha256)] for file in made.files]
    return Section(
        "Annex: the files of the new model",
        [
            Facts([("Checkpoint", Code(made.id)), ("Digest of all files", Code(made.digest))]),
            Table("Files", ["File", "Size", "sha256"], rows),
        ],
    )
