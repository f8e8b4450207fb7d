"""A program that stands for a training: it meets another one, prints its steps, fails or hangs as it is told."""

import argparse
import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--meet", type=Path, help="writes its own file here and waits for the other's")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--hang", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir()
    for step in range(1, arguments.steps + 1):
        print(json.dumps({"step": step, "steps": arguments.steps, "loss": 1.0}), flush=True)
    if arguments.meet is not None:
        (arguments.meet / arguments.out.name).write_text(str(os.getpid()))
        while len(list(arguments.meet.iterdir())) < 2:
            time.sleep(0.01)
    if arguments.fail:
        print("the reason why it failed", file=sys.stderr)
        raise SystemExit(3)
    if arguments.hang:
        time.sleep(600)
    (arguments.out / "config.json").write_text(json.dumps({"word": os.environ.get("WORD")}))
    print(json.dumps({"done": True, "loss": 0.25}), flush=True)


if __name__ == "__main__":
    main()
