"""The losses of twenty updates by every method under a fixed seed.

`python -m tests.unit.unlearning.golden` adds the losses of methods that have none. With names of methods it replaces
theirs, which is right only after an intended change of what they compute.
"""

import json
import sys
from pathlib import Path

import torch

from core.unlearning.objectives import METHODS
from tests.unit.unlearning.run import plain_training, run

FILE = Path(__file__).with_name("golden.json")
STEPS = 20


def losses(method):
    """The loss of each of `STEPS` updates by AdamW, over half of the forget set each."""
    training = plain_training(optimizer="adamw", learning_rate=2e-3, records_per_step=3, epochs=STEPS // 2)
    events = []
    run(method, training=training, events=events)
    return [event.values["loss"] for event in events if event.kind == "curve"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    kept = {name: values for name, values in json.loads(FILE.read_text()).items() if name not in sys.argv[1:]}
    golden = {name: kept[name] if name in kept else [float(f"{loss:.7g}") for loss in losses(name)] for name in METHODS}
    FILE.write_text(
        "".join(["{\n", ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items()), "\n}\n"])
    )
