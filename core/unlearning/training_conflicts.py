"""Training settings that contradict the method or the machine. Imports no torch, since the API reads it too."""

from core.schema.training import ConflictingGradients, MasterWeights, RelearningDefence
from core.unlearning.method import Method


def find_defence_conflict(
    defence: RelearningDefence, method: type[Method], *, master_weights: MasterWeights, gpus: int
) -> str | None:
    """Returns why a training cannot have this defence against relearning; None: it can."""
    if defence == "none":
        return None
    if method.final_weight is not Method.final_weight:
        return f"the method '{method.name}' learns the forget set on the way: there is nothing to defend"
    if gpus > 1:
        return "a defence against relearning needs whole gradients: it runs on one GPU"
    if defence != "selective" and master_weights == "bfloat16":
        return "a simulated attacker makes steps that bfloat16 would round away: keep the weights in float32"
    return None


def find_projection_conflict(conflicting_gradients: ConflictingGradients, method: Method, *, gpus: int) -> str | None:
    """Returns why a training cannot project its forget gradients; None: it can, or does not."""
    if conflicting_gradients != "project":
        return None
    if type(method).final_weight is not Method.final_weight:
        return f"the method '{method.name}' learns the forget set on the way: its gradient forgets nothing"
    held = [method.retain_spec().term != "none", method.unseen_spec(), method.rehearsal_spec()]
    if not any(held):
        return f"the method '{method.name}' has no retain term here, so that its gradient conflicts with nothing"
    if gpus > 1:
        return "a gradient can be projected only where it is whole: on one GPU"
    return None
