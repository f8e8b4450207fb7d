"""Goes through every causal language model of the installed transformers, tiny and from its own configuration.

python -m tests.architectures [--only NAME] [--steps exactness,job,export,adapter] [--resume] [--out FILE.md]

Rows go to a file of JSON lines as they come; the page is written where all architectures were gone through. Ends with 1
where a row is off or crashed.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from transformers.utils import logging

from tests.architectures.row import Row
from tests.architectures.sweep import SECONDS, swept
from tests.architectures.table import written
from tests.architectures.variants import every

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
    wish = parser.parse_args()
    logging.set_verbosity_error()
    steps = frozenset(wish.steps.split(","))
    variants = [one for one in every() if (not wish.only or one.name in wish.only) and not (wish.plain and one.label)]
    rows = read(wish.rows) if wish.resume else []
    there = {row.title for row in rows}
    variants = [one for one in variants if str(one) not in there]
    wish.rows.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with wish.rows.open("a" if wish.resume else "w") as out:
        for number, row in enumerate(swept(variants, steps, processes=wish.processes), 1):
            out.write(json.dumps(row.as_json()) + "\n")
            out.flush()
            rows.append(row)
            said = "; ".join(row.notes) if row.status != "exact" else row.how
            print(
                f"{number}/{len(variants)} {time.monotonic() - began:.0f} s  {row.title}: {row.status} {said}",
                flush=True,
            )
    if wish.out is not None:
        wish.out.write_text(written(rows), encoding="utf-8")
    failed = [row for row in rows if row.failed]
    print(f"{len(rows)} rows, {len(failed)} failed")
    return 1 if failed else 0


def read(path: Path) -> list[Row]:
    return [Row(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    sys.exit(main())
