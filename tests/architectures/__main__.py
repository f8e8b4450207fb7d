"""Tries every causal language model of the installed transformers, made tiny from its own configuration.

python -m tests.architectures [--only NAME] [--steps exactness,job,export,adapter] [--resume] [--out FILE.md]

Rows are appended to a file of JSON lines; the page is written once all architectures are tried. Exits with 1 where a
row is off or crashed.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from transformers.utils import logging

from tests.architectures.row import Row
from tests.architectures.sweep import SECONDS, sweep
from tests.architectures.table import render_page
from tests.architectures.variants import all_variants

ROWS = Path("build/architectures.jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="a model type; may be given several times")
    parser.add_argument("--plain", action="store_true", help="the architectures as they come, without variants")
    parser.add_argument("--steps", default=",".join(SECONDS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--resume", action="store_true", help="leave out what --rows holds already")
    parser.add_argument("--out", type=Path, help="the page that is written at the end")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    steps = frozenset(arguments.steps.split(","))
    variants = [
        variant
        for variant in all_variants()
        if (not arguments.only or variant.name in arguments.only) and not (arguments.plain and variant.label)
    ]
    rows = read(arguments.rows) if arguments.resume else []
    done = {row.title for row in rows}
    variants = [variant for variant in variants if str(variant) not in done]
    arguments.rows.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with arguments.rows.open("a" if arguments.resume else "w") as out:
        for number, row in enumerate(sweep(variants, steps, processes=arguments.processes), 1):
            out.write(json.dumps(row.as_json()) + "\n")
            out.flush()
            rows.append(row)
            outcome = "; ".join(row.notes) if row.status != "exact" else row.how
            print(
                f"{number}/{len(variants)} {time.monotonic() - start:.0f} s  {row.title}: {row.status} {outcome}",
                flush=True,
            )
    if arguments.out is not None:
        arguments.out.write_text(render_page(rows), encoding="utf-8")
    failed = [row for row in rows if row.failed]
    print(f"{len(rows)} rows, {len(failed)} failed")
    return 1 if failed else 0


def read(path: Path) -> list[Row]:
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
