"""The model card of a checkpoint: what was done, in words and figures, and what that does not prove."""

from core.schema.evaluation import Measurements
from core.schema.spec import JobSpec
from core.unlearning.trainer import TrainingResult


def card(spec: JobSpec, result: TrainingResult, before: Measurements) -> str:
    """Markdown with the Hub's YAML head. Counts, settings and figures; no record's text."""
    if spec.method is None:
        raise ValueError("a checkpoint comes from a method")
    counts = "\n".join(
        f"- {name}: {max(figure.records for figure in figures.values())} records measured"
        for name, figures in before.sets.items()
        if figures
    )
    parameters = "\n".join(f"- {name}: {value}" for name, value in sorted(spec.method.parameters.items()))
    training = "\n".join(f"- {name}: {value}" for name, value in spec.training.model_dump().items())
    library = f"peft\nbase_model: {spec.start or spec.model}" if spec.deliver == "adapter" else "transformers"
    what = "An adapter for its base, to be loaded with peft: made" if spec.deliver == "adapter" else "Made"
    return f"""---
library_name: {library}
tags: [machine-unlearning, {spec.method.name}]
---
# {spec.model}, after unlearning

{what} by job `{spec.job}` from model `{spec.model}` with the method `{spec.method.name}`: {result.steps} updates over
{result.tokens} tokens; {result.changed_share:.1%} of the weights changed. Digest of the files it started from:
`{before.model_digest}`.

## Method
{parameters or "- defaults only"}

## Training
{training}

## Data
{counts}

## What this does not prove
The job's report holds the figures before and after with their intervals. They say how far this model can be told apart
from one that never saw the forget set, by the attacks that were run, at this sample size. No measurement proves that a
text is erased.
"""
