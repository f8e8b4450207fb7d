"""Trainings that two ranks must end like one process.

`python -m tests.integration.ranks.cases RANK RANKS MEETING OUT` is one of the ranks, which run all cases in one launch;
rank 0 writes their outcomes.
"""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.lm.fingerprint import Fingerprint
from core.lm.forward import Forward
from core.lm.process_group import Ranks
from core.lm.sharding import gather_model, local_part
from core.lm.snapshots import Snapshots
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.schema.training import Lora
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import JobCancelled, JobPaused, train
from tests.unit.lm.tiny import records, tiny_mixture, tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import plain_training

ADAM = {"optimizer": "adamw", "learning_rate": 1e-3, "gradient_clip": 0.5}


@dataclass
class Case:
    """`dtype` is that of the weights: rounding changes plain descent in float32 by less than 1e-5."""

    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    tied: bool = False
    dtype: torch.dtype = torch.float32
    forget: int = 5
    long: bool = False
    experts: bool = False


CASES = {
    "ascent_descent": Case("ascent_descent"),
    "ascent_descent, tied": Case("ascent_descent", tied=True),
    "ascent_descent, adamw": Case("ascent_descent", training=ADAM, dtype=torch.float64),
    "ascent_kl": Case("ascent_kl"),
    "ascent_kl, tied, adamw": Case("ascent_kl", tied=True, training=ADAM, dtype=torch.float64),
    "npo": Case("npo", {"retain_term": "kl"}),
    "calibrated": Case("calibrated", {"rehearsal_texts": 12}),
    "calibrated, long records": Case("calibrated", {"rehearsal_texts": 12}, {"max_length": 16}, long=True),
    "gradient_ascent, more than a micro-batch": Case("gradient_ascent", forget=9),
    "gradient_ascent, one record": Case("gradient_ascent", forget=1),
    "random_label": Case("random_label", {"reference": "random_model", "redraw": "every_epoch"}),
    "adversarial_label": Case("adversarial_label"),
    "rmu": Case("rmu", training={"learning_rate": 1e-4}),
    "rmu, descent": Case("rmu", {"retain_term": "descent", "retain_weight": 1.0}),
    "pdu": Case("pdu", {"dual_rate": 0.5}),
    "task_vector": Case("task_vector", dtype=torch.float64),
    "dpo": Case("dpo", {"retain_term": "kl"}),
    "checkpointing": Case("ascent_kl", training={"checkpointing": True}),
    "chosen weights": Case("ascent_kl", training={"trainable": ["model.layers.1.mlp.*"]}),
    "lora": Case("ascent_descent", training={"lora": Lora(rank=2)}),
    "lora, experts": Case("ascent_descent", training={"lora": Lora(rank=2)}, experts=True),
}


def sets(case: Case) -> TrainingSets:
    """Odd numbers of records, of many lengths."""
    forget = records(case.forget, seed=1)
    if case.long:
        forget.append(Record(text=" ".join(f"w{number * 7 % 90}" for number in range(50))))
    return TrainingSets(
        forget=forget,
        retain=[
            RecordSet(name="retain", kind="in_distribution", weight=1.0, records=records(7, seed=2)),
            RecordSet(name="retain", kind="general", weight=3.0, records=records(3, seed=3)),
        ],
        unseen=records(7, seed=4),
    )


def outcome(
    case: Case,
    ranks: Ranks,
    *,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[], bool] = lambda: False,
    snapshots: Snapshots | None = None,
) -> dict[str, Any]:
    """The weights of the checkpoint, each step's values, and the result's counts."""
    curves: list[dict[str, float]] = []
    model = tiny_mixture() if case.experts else tiny_model(dtype=case.dtype, tied=case.tied)
    settings = {"epochs": 2, "records_per_step": 100, "micro_batch_tokens": 30} | case.training
    result = train(
        model,
        tiny_tokenizer(),
        case.method,
        case.parameters,
        plain_training(**settings),
        sets(case),
        report=lambda event: curves.append(event.values) if event.kind == "curve" else None,
        should_stop=stop,
        should_pause=pause,
        snapshots=snapshots,
        ranks=ranks,
    )
    local_share = sum(local_part(weight).numel() for weight in model.parameters()) / sum(
        map(Tensor.numel, model.parameters())
    )
    gather_model(model, ranks)
    weights: list[Tensor] = [weight.detach() for weight in model.parameters()]
    return {
        "weights": weights,
        "local_share": local_share,
        "tied": model.get_input_embeddings().weight is model.get_output_embeddings().weight,
        "losses": [{name: value for name, value in values.items() if "loss" in name} for values in curves],
        "counts": (result.steps, result.tokens),
        "changed": result.changed_share,
    }


def is_stopped_by_rank_0(ranks: Ranks) -> bool:
    """Whether a stop that only rank 0 is told ends the training in this rank."""
    try:
        outcome(CASES["ascent_descent"], ranks, stop=lambda: ranks.rank == 0)
    except JobCancelled:
        return True
    return False


def head_growth(ranks: Ranks) -> float:
    """The growth of the head's sum between two forwards without gradients, when each weight is raised by 1."""
    forward = Forward(tiny_model(), ranks=ranks)
    forward.shard()
    weights = list(forward.model.parameters())  # as an optimiser holds them
    with torch.no_grad():
        before = forward.run(lambda: forward.model.lm_head.weight.sum().item())
        for weight in weights:
            local_part(weight).add_(1)
        return forward.run(lambda: forward.model.lm_head.weight.sum().item()) - before


RESUMED = ("ascent_kl, tied, adamw", "chosen weights", "pdu", "lora")


def resumed(name: str, ranks: Ranks, folder: Path) -> dict[str, Any]:
    """The outcome of a training that rank 0 pauses after its first step and that a second attempt resumes."""
    events: list[str] = []

    def snapshots(fence: int) -> Snapshots:
        fingerprint = Fingerprint({}, b"" if ranks.rank == 0 else b"ignored in this rank")
        return Snapshots(
            folder, fence, fingerprint, key=bytes(32), report=lambda event: events.append(event.kind), ranks=ranks
        )

    steps = iter(range(9))
    with contextlib.suppress(JobPaused):
        outcome(CASES[name], ranks, pause=lambda: ranks.rank == 0 and next(steps) > 0, snapshots=snapshots(1))
    result = outcome(CASES[name], ranks, snapshots=snapshots(2))
    assert events == (["snapshot"] if ranks.rank == 0 else [])
    return result


def main(rank: int, count: int, meeting: Path, out: Path) -> None:
    torch.set_num_threads(1)
    ranks = Ranks.join(rank, count, meeting)
    outcomes: dict[str, Any] = {name: outcome(case, ranks) for name, case in CASES.items()}
    for name in RESUMED:
        outcomes[f"{name}, resumed"] = resumed(name, ranks, meeting.with_name(f"snapshots of {name}"))
    stops = torch.tensor([int(is_stopped_by_rank_0(ranks))])
    outcomes["stopped"] = int(ranks.all_reduce(stops))
    outcomes["head_growth"] = head_growth(ranks)
    if rank == 0:
        torch.save(outcomes, out)
    ranks.leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
