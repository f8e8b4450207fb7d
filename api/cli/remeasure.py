"""The figures of a statement, made again by the pipeline's own measuring code, and compared."""

import hashlib
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import typer

from api.cli.child import ChildFailed, child_events
from api.cli.given_files import GivenFile, is_made, match_files, unknown_files
from api.cli.missing_inputs import MissingInputs, measurements_out_of_time
from core.evidence.findings import Findings
from core.schema.adapters import ADAPTER_CONFIG
from core.schema.environment import Environment
from core.schema.evaluation import MeasurementChoice, Measurements
from core.schema.events import EnvironmentReported, Measured
from core.schema.job_spec import FileRecords, MeasureSpec, SetFile
from core.schema.jobs import SetUsed
from core.schema.model_shape import UnusableModel, read_shape
from core.schema.report import Report
from core.schema.training import Training
from core.unlearning.eval_tokenization import eval_settings

NO_FIGURES = {"seconds", "seconds_of", "parameters"}
"""Fields of measurements that are no figures."""
LONGEST = 86_400.0
"""Seconds that a measurement may take here at least, where its time limit cut nothing short in the job."""
RELATIVE, ABSOLUTE = 0.02, 0.02
"""On another kind of machine, or with other versions, a figure may differ by 2 % of itself plus 0.02: rounding differs,
and a single record that changes its rank moves an AUC of few records by about as much."""
LISTED = 20
_HOLDERS = {"sets": 3, "variants": 4, "benchmarks": 3}
"""So many parts of a figure's place, the model's moment first, name the set or the task that the figure is of."""
SAME = ("measuring_digest", "libraries", "processor", "device", "cuda", "threads")
"""Fields of an environment that must agree for figures that agree to the last digit."""


@dataclass(frozen=True)
class Texts:
    """The files and models that a third party measures with."""

    forget: Path | None
    retain: Sequence[Path]
    unseen: Sequence[Path]
    general: Path | None
    probes: Path | None
    protected: Path | None
    before: Path | None
    retrained: Path | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    threads: int | None = None
    benchmark_tasks: Path | None = None


class NotMeasured(Exception):
    """The figures could not be made again; the message says why."""


def remeasure(report: Report, checkpoint: Path, texts: Texts, findings: Findings) -> None:
    """Makes the figures again and names each that differs. NotMeasured: they cannot be made."""
    files = given_files(texts)
    matched = match_files(report.data, files)
    missing = MissingInputs.of(
        report,
        matched,
        before=texts.before is not None,
        retrained=texts.retrained is not None,
        tasks=texts.benchmark_tasks is not None,
    )
    if missing.names:
        named = ", ".join(sorted(missing.names))
        findings.unchecked.append(f"figures of sets of which not all files are given: {named}")
    if not check_files(report.data, files, findings):
        findings.unchecked.append("the figures: they were made from other files than these")
        return
    measured: dict[str, Measurements] = {}
    environment: Environment | None = None
    with tempfile.TemporaryDirectory(prefix="unlearn-") as private:
        try:
            spec = _spec(report, checkpoint, texts, _set_files(matched), missing, Path(private))
            for event in child_events(spec, _child_environment(spec.threads)):
                if isinstance(event, EnvironmentReported):
                    environment = event
                elif isinstance(event, Measured):
                    measured[event.moment] = event.measurements
        except ChildFailed as failure:
            raise NotMeasured(str(failure)) from None
    differences = _differences(report.environment, environment)
    _compare(report, measured, missing, exact=not differences, findings=findings)
    if differences:
        findings.unchecked.append(
            f"the figures to the last digit: this machine differs in {', '.join(differences)}, so they were compared"
            f" within {RELATIVE:.0%} of each figure plus {ABSOLUTE}"
        )


def given_files(texts: Texts) -> list[GivenFile]:
    """Returns the files of records with their digests."""
    return [GivenFile(name, path, _sha256(path)) for name, path in _named_files(texts)]


def check_files(data: Sequence[SetUsed], files: Sequence[GivenFile], findings: Findings) -> bool:
    """Compares the files with the digests in the report; returns whether all that are given are the job's."""
    fits = True
    for file in files:
        sets = [used for used in data if used.name == file.name]
        of_any_text = [used for used in sets if used.sha256 is None and not is_made(used)]
        option = f"--{file.name} {file.path.name}"
        if not sets:
            findings.failures.append(f"{option}: the job had no such set")
        elif any(used.sha256 == file.sha256 for used in sets):
            findings.checked.append(f"the {file.name} file {file.path.name} is the job's, by its sha256")
            continue
        elif not of_any_text:
            made = ", the job made its own" if all(is_made(used) for used in sets) else "; its sha256 is another"
            findings.failures.append(f"{option}: it is not the job's file{made}")
        elif len(unknown_files(data, files, file.name)) > len(of_any_text):
            findings.failures.append(f"{option}: the job had fewer files of this name")
        else:
            findings.unchecked.append(
                f"whether {file.path.name} is the job's {file.name} set: the report holds no digest of it"
                if len(of_any_text) == 1
                else f"which of the job's {file.name} sets {file.path.name} is: the report holds no digests of them"
            )
            continue
        fits = False
    return fits


def _named_files(texts: Texts) -> Iterator[tuple[str, Path]]:
    single = {"forget": texts.forget, "general": texts.general, "probes": texts.probes, "protected": texts.protected}
    yield from ((name, file) for name, file in single.items() if file is not None)
    yield from (("retain", file) for file in texts.retain)
    yield from (("unseen", file) for file in texts.unseen)


def _spec(
    report: Report, checkpoint: Path, texts: Texts, sets: list[SetFile], missing: MissingInputs, private: Path
) -> MeasureSpec:
    if report.treatment is None:
        raise NotMeasured("the job was not asked to change a model")
    adapter = (checkpoint / ADAPTER_CONFIG).is_file() and not (checkpoint / "config.json").is_file()
    if adapter and texts.before is None:
        raise NotMeasured("the checkpoint holds an adapter alone: name the model before with --before")
    base = texts.before.resolve() if adapter and texts.before is not None else None
    environment = report.environment
    return MeasureSpec(
        job="unlearn-verify",
        model=report.model.id,
        directory=checkpoint.resolve(),
        dtype=texts.dtype,
        training=_settings(report.treatment.training, base or checkpoint),
        records=FileRecords(sets=sets),
        scratch=private,
        measure=[*report.figures.measure, *_as_made(report, missing.out_of_time)],
        retrained=texts.retrained,
        original=texts.before,
        base=base,
        benchmark_tasks=texts.benchmark_tasks,
        threads=texts.threads or (None if environment is None else environment.threads),
    )


def _child_environment(threads: int | None) -> dict[str, str]:
    """Returns the environment without the settings of linear algebra that a worker's child does not have either."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    return inherited | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})


def _settings(training: Training, model: Path) -> Training:
    try:
        # links may lead anywhere: the files belong to the person who runs this command
        shape = read_shape(model.resolve(), root=Path(model.resolve().anchor))
    except UnusableModel as error:
        raise NotMeasured(str(error)) from None
    return eval_settings(training, context=shape.context)


def _as_made(report: Report, out_of_time: frozenset[str]) -> list[MeasurementChoice]:
    """Returns the measurements with the parameters that the job made them with, which may differ from those asked for.

    Time limits that cut nothing short are raised, so that they cut nothing short on a slower machine either.
    NotMeasured: the models were measured with different parameters. One run measures all of them with the same.
    """
    figures = report.figures
    models = [model for model in (figures.before, figures.after, figures.retrained) if model is not None]
    made: dict[str, dict[str, Any]] = {}
    for model in models:
        for name, parameters in model.parameters.items():
            if made.setdefault(name, parameters) != parameters:
                raise NotMeasured(f"the job made {name} with other parameters on one model than on another")
    return [
        MeasurementChoice.model_validate(
            {"name": name, **parameters}
            | (
                {"seconds": max(LONGEST, parameters["seconds"])}
                if "seconds" in parameters and name not in out_of_time
                else {}
            )
        )
        for name, parameters in made.items()
    ]


def _set_files(matched: Sequence[tuple[SetUsed, Path | None]]) -> list[SetFile]:
    """Returns the files in the job's order, each used as the job used it."""
    return [
        SetFile(name=used.name, path=path, kind=used.kind, part=used.part) for used, path in matched if path is not None
    ]


def _differences(stated: Environment | None, here: Environment | None) -> list[str]:
    """Returns in what this machine differs from the stated one; where one is unknown, `an unknown environment`."""
    if stated is None or here is None:
        return ["an unknown environment"]
    return [name.replace("_", " ") for name in SAME if getattr(stated, name) != getattr(here, name)]


def _compare(
    report: Report, measured: dict[str, Measurements], missing: MissingInputs, *, exact: bool, findings: Findings
) -> None:
    compared, undecided, failures = 0, list[str](), list[str]()
    cut_here = measurements_out_of_time(measured.values()) - missing.out_of_time
    too_slow = f"how far {', '.join(sorted(cut_here))} would have come here with more time" if cut_here else ""
    for moment in ("before", "after", "retrained"):
        stated: Measurements | None = getattr(report.figures, moment)
        again = measured.get(moment)
        if stated is None:
            continue
        if again is None:
            option = "--retrained-model" if moment == "retrained" else "--before"
            findings.unchecked.append(f"the figures {moment}: name that model with {option}")
            continue
        # figures of the model after the job are compared with those of the model before
        compared_with = (report.figures.before, measured.get("before")) if moment == "after" else ()
        out_of_time = measurements_out_of_time(model for model in (stated, again, *compared_with) if model is not None)
        expected, found = (dict(_leaves(part.model_dump(mode="json", exclude=NO_FIGURES))) for part in (stated, again))
        for place in expected.keys() | found.keys():
            agree = _agree(expected.get(place), found.get(place), exact=exact)
            if not agree and missing.decides(place, out_of_time):
                undecided.append(f"{moment}.{place}")
                continue
            compared += 1
            if not agree:
                name = f"figures.{moment}.{place}"
                failures.append(f"{name}: {expected.get(place)} is stated, {found.get(place)} was measured")
    if undecided:
        findings.unchecked.append(
            f"{len(undecided)} values of figures that are others here, or are not there: they may rest on what is not"
            f" given ({', '.join(filter(None, (missing.words, too_slow)))}):"
        )
        findings.unchecked += _by_holder(undecided)
    failures.sort()
    findings.failures += failures[:LISTED]
    if len(failures) > LISTED:
        findings.failures.append(f"{len(failures) - LISTED} more figures differ")
    if not failures:
        how = "to the last digit" if exact else "within the tolerance"
        findings.checked.append(f"{compared} values of figures, made again: they agree {how}")


def _by_holder(places: Iterable[str]) -> list[str]:
    """Returns a line for each set, attack or other holder of figures, with the names of its figures."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for place in places:
        parts = re.sub(r"\[\d+\]", "", place).split(".")
        depth = _HOLDERS.get(parts[1], 2)
        names[".".join(parts[:depth])].update(parts[depth : depth + 1])
    return [
        f"  figures.{holder}" + (f": {', '.join(sorted(of_holder))}" if of_holder else "")
        for holder, of_holder in sorted(names.items())
    ]


def _leaves(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value of nested objects and lists with its place, such as `sets.forget.perplexity.value`."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _leaves(value, f"{place}.{name}" if place else name)
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from _leaves(value, f"{place}[{number}]")
    else:
        yield place, content


def _agree(expected: Any, found: Any, *, exact: bool) -> bool:
    if exact or not isinstance(expected, float) or not isinstance(found, float):
        return bool(expected == found)
    return abs(expected - found) <= RELATIVE * max(abs(expected), abs(found)) + ABSOLUTE


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise typer.BadParameter(f"{file.name} cannot be read ({type(error).__name__})") from None
