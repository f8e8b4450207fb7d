"""The optimiser of `training.optimizer`, and its learning rate."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from core.lm.compiler import require_compiler
from core.lm.errors import CoreError
from core.schema.training import Training
from core.unlearning.bfloat16_optimizers import StochasticRoundingOptimizer


def require_optimizer(training: Training, device: torch.device) -> None:
    """Raises CoreError `optimizer_unavailable` where this worker lacks what the optimiser needs."""
    if training.optimizer != "adamw8bit":
        return
    try:
        import torchao.optim  # noqa: F401
    except ImportError as error:
        message = "adamw8bit needs torchao on the worker (the extra [gpu]), and it is not installed"
        raise CoreError("optimizer_unavailable", message) from error
    require_compiler(device, "optimizer_unavailable", "adamw8bit")


def make_optimizer(weights: Sequence[nn.Parameter], training: Training) -> Optimizer:
    """Makes the optimiser for weights of one device, which `require_optimizer` has checked.

    Weights held in bfloat16 are rounded stochastically.
    """
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimizer == "adamw8bit":
        return _eight_bit(weights, training)
    if any(weight.dtype == torch.bfloat16 for weight in weights):
        return StochasticRoundingOptimizer(
            weights, lr=rate, weight_decay=decay, seed=training.seed, adam=training.optimizer == "adamw"
        )
    if training.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Sets the learning rate of the next update."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)  # in place, or a compiled step would be compiled again
        else:
            group["lr"] = rate


def _eight_bit(weights: Sequence[nn.Parameter], training: Training) -> Optimizer:
    """AdamW with its moments in 8 bits, in blocks of 256 (arXiv 2110.02861); its step is compiled."""
    from torchao.optim import AdamW8bit

    optimizer: Optimizer = AdamW8bit(
        weights, lr=training.learning_rate, weight_decay=training.weight_decay, bf16_stochastic_round=True
    )
    return optimizer
