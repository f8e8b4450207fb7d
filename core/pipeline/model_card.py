"""The model card of a checkpoint: what was done, in words and figures, and what that does not prove."""

from collections.abc import Sequence

from core.schema.evaluation import Measurements
from core.schema.job_spec import UnlearnSpec
from core.unlearning.trainer import TrainingResult

_HEAD = """---
library_name: peft
base_model: {base}
tags: [machine-unlearning, {spec.method.name}]
---
"""
_WHOLE = """Every file but this one, and every weight but those that changed, is byte for byte what the model came with.
Its README.md tells of the model before."""
_ADAPTER = "The tokenizer's files and the terms are byte for byte those that the model came with."


def model_card(spec: UnlearnSpec, result: TrainingResult, before: Measurements, left_out: Sequence[str] = ()) -> str:
    """Markdown. Counts, settings and figures; no record's text. An adapter's begins with the Hub's YAML head.

    `left_out` are the files of the model that do not go with the checkpoint.
    """
    counts = "\n".join(
        f"- {name}: {max(figure.records for figure in figures.values())} records measured"
        for name, figures in before.sets.items()
        if figures
    )
    parameters = "\n".join(f"- {name}: {value}" for name, value in sorted(spec.method.parameters.items()))
    training = "\n".join(f"- {name}: {value}" for name, value in spec.training.model_dump().items())
    alone = spec.deliver == "adapter"
    what = "An adapter for its base, to be loaded with peft: made" if alone else "Made"
    return f"""{_HEAD.format(spec=spec, base=spec.start or spec.model) if alone else ""}# {spec.model}, after unlearning

{what} by job `{spec.job}` from model `{spec.model}` with the method `{spec.method.name}`: {result.steps} updates over
{result.tokens} tokens; {result.changed_share:.1%} of the weights changed. Digest of the files it started from:
`{before.model_digest}`.

## Method
{parameters or "- defaults only"}

## Training
{training}

## Data
{counts}

## Files
{_ADAPTER if alone else _WHOLE}
{_left_out(left_out)}
## What this does not prove
The job's report holds the figures before and after with their intervals. They say how far this model can be told apart
from one that never saw the forget set, by the attacks that were run, at this sample size. No measurement proves that a
text is erased.
"""


def _left_out(files: Sequence[str]) -> str:
    if not files:
        return ""
    listed = "\n".join(f"- {name}" for name in files)
    return f"Left out, since they hold weights of before or belong to such:\n\n{listed}\n"
