"""Trainings that a defence against relearning does not go with. Imports no torch, since the API reads it too."""

from core.schema.training import MasterWeights, RelearningDefence
from core.unlearning.method import Method


def find_conflict(
    defence: RelearningDefence, method: type[Method], *, master_weights: MasterWeights, gpus: int
) -> str | None:
    """Returns why a training cannot have this defence; None: it can."""
    if defence == "none":
        return None
    if method.final_weight is not Method.final_weight:
        return f"the method '{method.name}' learns the forget set on the way: there is nothing to defend"
    if gpus > 1:
        return "a defence against relearning needs whole gradients: it runs on one GPU"
    if defence != "selective" and master_weights == "bfloat16":
        return "a simulated attacker makes steps that bfloat16 would round away: keep the weights in float32"
    return None
