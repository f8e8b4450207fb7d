"""What a report does not prove, and how its parts can be checked."""

from collections import Counter

from core.report.glossary import set_words
from core.schema.report import Report, ReportCheck

_GENERAL = (
    "It does not prove that the text is erased. No measurement can prove that nothing of a text is left in a model.",
    "It says what the tests that were made found. A test that was not made, or an attacker with more knowledge, more"
    " tries or another method, may find more.",
    "Every figure rests on a sample of records. Its 95 % interval says how much it could differ on other records of the"
    " same kind; in about 5 of 100 cases the true value lies outside.",
    "The service that changed the model also measured it. The figures are not the finding of an independent examiner."
    " Whoever has the model's files and the texts can repeat the measurements.",
    "The model from before the job still knows the text. The report says nothing about copies of that model, about"
    " models that were made from it elsewhere, about back-ups, or about other systems that hold the text.",
)

CONTINUED = " \\\n  "
"""The end of a command's line, and the beginning of its next one."""


def list_caveats(report: Report) -> list[str]:
    """Returns sentences on what the report does not prove, the general ones first."""
    caveats = list(_GENERAL) if report.outcome == "unlearned" else list(_GENERAL[:4])
    if report.verdict is None:
        return caveats
    if report.verdict.scope == "verbatim":
        caveats.append(
            "The tests used the text itself: whether the model continues it, completes it, or recognises it. No"
            " questions about its content were asked in other words. The model may know a fact of the text that another"
            " text also states."
        )
    made = [used.name for used in report.data if (used.origin or "").startswith("made")]
    if made:
        caveats.append(
            f"The service made some of the texts itself ({', '.join(map(set_words, dict.fromkeys(made)))}), because"
            " neither the request nor the model's registration names any. Figures on made text say less than figures on"
            " text that people wrote."
        )
    yardsticks = {bound.yardstick for bound in report.verdict.bounds}
    if "unseen_text" in yardsticks:
        caveats.append(
            "There was no model that was trained without the text. The behaviour of the model before the job on unseen"
            " text stands in for such a model. This holds as far as the unseen text resembles the text to forget."
        )
    if any(not part.required for part in report.verdict.parts if part.part == "membership"):
        caveats.append(
            "With so few records, statistics cannot show whether an attacker can tell that the model has seen the text."
            " The verdict does not rest on it."
        )
    after = report.figures.after
    if after is not None and not after.variants:
        caveats.append(
            "Copies of the model with 8-bit or 4-bit weights were not tested. Such a copy can bring back text that the"
            " model itself no longer gives."
        )
    if after is not None and not any(curve.startswith("relearned") for curve in after.curves):
        caveats.append(
            "It was not tested how fast the text comes back if somebody trains the model further. Training on a small"
            " part of the text can bring back the rest."
        )
    if report.purge and not all(purge.deleted for purge in report.purge):
        caveats.append(
            "The file with the text to forget was not yet deleted from the service when this report was made."
        )
    return caveats


def _texts(report: Report, *, trained_on: bool = False) -> str:
    """The options that name the models, and the files that the job measured with, or `trained_on` as well."""
    options, numbers = list[str](), Counter[str]()
    for used in report.data:
        if (used.origin or "").startswith("made"):
            continue
        numbers[used.name] += 1  # files that only train are counted too: a file has one name in all commands
        if trained_on or used.part != "trains":
            number = numbers[used.name]
            options.append(f"--{used.name} {used.name}{'' if number == 1 else f'-{number}'}.jsonl")
    retrained = [] if report.figures.retrained is None else ["--retrained-model RETRAINED"]
    models = " ".join(["--before MODEL", *retrained])
    return f"{models}{CONTINUED}{' '.join(options)}"


def _command(version: str) -> ReportCheck:
    return ReportCheck(
        text=f"The command unlearn, which the ways below use, belongs to the service's own program, the Python package"
        f" unlearning-service. Version {version} of it wrote this report. Whoever runs the service has its source and"
        " its container image, and can give you either: the command is in both, and needs no access to the service."
        " In the folder of the source, this installs it. A signed statement is in a public form (in-toto in a DSSE"
        " envelope), so other programs can check its signature too.",
        command="python3 -m venv checking\nchecking/bin/pip install -c constraints.txt .\n"
        "checking/bin/unlearn --version",
    )


def list_checks(report: Report) -> list[ReportCheck]:
    """Returns how the parts of the report can be checked."""
    checks = [_command(report.service_version)]
    if report.checkpoint is not None:
        checks.append(
            ReportCheck(
                text="All at once: the service also gives this report as a signed statement"
                f" (GET /v1/jobs/{report.job}/statement), and its public keys (GET /.well-known/jwks.json)."
                " With the statement, the keys and the new model's files in a folder DIR, this command shows on your"
                " own machine, without the service, that the statement was signed by the service's key and was not"
                " changed since, that the files are byte for byte those that this report is about, and that the verdict"
                " follows from the figures and the limits. It does not show that the figures are true.",
                command="unlearn verify statement.json --checkpoint DIR --keys jwks.json",
            )
        )
        checks.append(
            ReportCheck(
                text="That the figures are true: with --remeasure the same command makes every figure again from the"
                " files and the texts, and names each that differs.",
                command="unlearn verify statement.json --checkpoint DIR --keys jwks.json --remeasure"
                f"{CONTINUED}{_texts(report, trained_on=True)}",
            )
        )
        checks.append(
            ReportCheck(
                text="The files: compute the sha256 of each file of the checkpoint and compare it with the list in this"
                " report. The sha256 of that list, as canonical JSON, is the digest of the new model.",
                command="sha256sum *",
            )
        )
        checks.append(
            ReportCheck(
                text="Other figures than these: measure the new model yourself, by any measurements and limits. You"
                " need its files, the model from before and the texts. On the same kind of machine with as many threads"
                " the figures agree; on another kind they differ slightly: see docs/statement.md of the source.",
                command=f"unlearn measure DIR --policy default --json again.json{CONTINUED}{_texts(report)}",
            )
        )
    checks.append(
        ReportCheck(
            text="The audit log: export it from the service (GET /v1/audit/export) and check it on your own machine."
            " Each entry holds the hash of the entry before it. Whoever has kept the hash of one entry can show that no"
            " entry up to it was changed, removed or inserted.",
            command="unlearn verify audit.jsonl",
        )
    )
    return checks
