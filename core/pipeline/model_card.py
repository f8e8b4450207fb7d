"""The model card of a checkpoint: method, settings, data, and the limits of what it proves."""

from collections.abc import Sequence

from core.schema.combining import OWN_SETS
from core.schema.evaluation import Measurements
from core.schema.job_spec import UnlearnSpec
from core.schema.jobs import Origin, SetUsed
from core.unlearning.trainer import TrainingResult

_HEAD = """---
library_name: peft
base_model: {base}
tags: [machine-unlearning, {spec.method.name}]
---
"""
_MODEL_FILES = """Every file but this one, and every weight but those that changed, is byte for byte that of the
original model. Its README.md describes the original model."""
_ORIGINS: dict[Origin, str] = {
    "request": "from the request",
    "model": "from the model's files",
    "made": "made",
    "made_by_swapping": "made: copies of the records to forget with other names, numbers, places and dates",
    "made_by_the_model": "made: texts that the model wrote by itself",
}
_ADAPTER_FILES = "The tokenizer's files and the licence files are byte for byte those of the original model."


def model_card(
    spec: UnlearnSpec,
    result: TrainingResult,
    before: Measurements,
    left_out: Sequence[str] = (),
    made_sets: Sequence[SetUsed] = (),
) -> str:
    """Returns the card as Markdown: counts and settings, no record's text. An adapter's card has the Hub's YAML head.

    `left_out` are the model's files that the checkpoint does not contain, `made_sets` those that the job has made.
    """
    brought = [used for used in spec.data if used.origin in ("request", "model")]
    sets = "".join(
        f"- {used.name}: {used.records} records, {_ORIGINS[used.origin]}\n"
        for used in [*brought, *made_sets]
        if used.origin is not None
    )
    whose = f", of job `{spec.job}`" if spec.companions else ""
    counts = "\n".join(
        f"- {name}: {max(figure.records for figure in figures.values())} records measured"
        f"{whose if name in OWN_SETS else ''}"
        for name, figures in before.sets.items()
        if figures
    )
    parameters = "\n".join(f"- {name}: {value}" for name, value in sorted(spec.method.parameters.items()))
    training = "\n".join(f"- {name}: {value}" for name, value in spec.training.model_dump().items())
    adapter = spec.deliver == "adapter"
    made = "An adapter for its base, to be loaded with peft: made" if adapter else "Made"
    head = _HEAD.format(spec=spec, base=spec.start or spec.model) if adapter else ""
    return f"""{head}# {spec.model}, after unlearning

{made} by job `{spec.job}` from model `{spec.model}` with the method `{spec.method.name}`: {result.steps} updates over
{result.tokens} tokens; {result.changed_share:.1%} of the weights changed. Digest of the files it started from:
`{before.model_digest}`.
{_companions(spec.companions)}
## Method
{parameters or "- defaults only"}

## Training
{training}

## Data
{sets}{counts}

## Files
{_ADAPTER_FILES if adapter else _MODEL_FILES}
{_left_out(left_out)}
## What this does not prove
The job's report holds the figures before and after with their intervals. They say how far this model can be told apart
from one that never saw the forget set, by the attacks that were run, at this sample size. No measurement proves that a
text is erased.
"""


def _companions(jobs: Sequence[str]) -> str:
    if not jobs:
        return ""
    listed = ", ".join(f"`{job}`" for job in jobs)
    return f"\nThe same training served {listed}. Each job has a forget set, figures and a verdict of its own.\n"


def _left_out(files: Sequence[str]) -> str:
    if not files:
        return ""
    listed = "\n".join(f"- {name}" for name in files)
    return f"Left out, since they hold weights from before unlearning or belong to such files:\n\n{listed}\n"
