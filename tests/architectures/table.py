"""The rows as a page of the documentation."""

from collections import Counter
from collections.abc import Sequence

import peft
import torch
import transformers

from tests.architectures import exactness, readback, texts
from tests.architectures.row import Row
from tests.architectures.sizes import WINDOW
from tests.plain_transformers import PINNED

_HEAD = """# Architectures

<!-- written by `make test-architectures`; do not edit -->

Every causal language model of transformers {transformers} ({types} model types), made tiny from its own configuration
with random weights, and held against plain transformers: {counts}.

- **runs**: *packed*: records lie behind each other in one row, without padding. *padded*: records are filled up on the
  right. *one record at a time*: neighbours would change a record. *refused*: by name, before anything is computed.
- **log p**: the largest difference of a scored token's log-probability, in nats, from plain transformers running each
  record alone; {records} records of {shortest} to {longest} tokens, in micro-batches of three sizes. Float64 where the
  model runs in it; the limit is {log_probability:.0e} there and 1e-3 in float32.
- **gradient**: the same of every weight's gradient of the mean loss, as a share of the largest gradient.
- **continued**: prompts of several lengths, continued greedily in one batch, that come out as `generate` or the model's
  own whole forward continue each.
- **job**: an ascent_descent job of four updates. **export 5**, **4.57**: its checkpoint in a fresh process with plain
  transformers {transformers} and {four}; the largest difference of a log-probability from the core's, in nats. The
  limit is {limit:.0e}, float32's rounding.
- **adapter**: a job on LoRA adapters beside all linear layers; the merged checkpoint against base and adapter, loaded
  by peft {peft} in a fresh process, by the same measure.

Windows, chunks and top-k selections are {window} tokens, so that all but the shortest records are longer. A variant
(`sliding`, `dynamic`, `longrope`, `decoder`, `tied`, `untied`) has that setting switched on; jobs are run of the last
three, whose checkpoints are others, too. Torch {torch}. How it is done, and how for one architecture alone:
`tests/architectures/__main__.py`.

| model type | runs | log p | gradient | continued | job | export 5 | 4.57 | adapter | note |
|---|---|---|---|---|---|---|---|---|---|
"""

_NOT_BUILT = """
## Not tried

Transformers itself makes no model of these that reads token ids alone, or does not load what it saved.

| model type | why |
|---|---|
"""


def render_page(rows: Sequence[Row]) -> str:
    """Renders the page: variants in alphabetical order, failures with their figures, and the model types not tried."""
    rows = sorted(rows, key=lambda row: (row.name, row.label))
    counts = Counter(row.how if row.status == "exact" else row.status for row in rows if row.status != "not built")
    summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]))
    page = _HEAD.format(
        transformers=transformers.__version__,
        four=PINNED,
        types=len({row.name for row in rows}),
        counts=f"{sum(counts.values())} configurations, {summary}",
        records=len(texts.LENGTHS),
        shortest=min(texts.LENGTHS),
        longest=max(texts.LENGTHS),
        log_probability=exactness.LOG_PROBABILITY,
        limit=readback.LIMIT,
        window=WINDOW,
        peft=peft.__version__,
        torch=torch.__version__.partition("+")[0],
    )
    page += "".join(_line(row) for row in rows if row.status != "not built")
    not_built = [row for row in rows if row.status == "not built" and not row.label]
    if not_built:
        page += _NOT_BUILT + "".join(f"| {row.title} | {_cell('; '.join(row.notes))} |\n" for row in not_built)
    return page


def _line(row: Row) -> str:
    runs = row.how if row.status == "exact" else f"**{row.status}**" if row.failed else row.status
    cells = [
        row.title,
        runs,
        _figure(row.log_probability),
        _figure(row.gradient),
        row.continuation,
        row.job,
        row.export5,
        row.export4,
        row.adapter,
        "; ".join(row.notes),
    ]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |\n"


def _figure(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()
