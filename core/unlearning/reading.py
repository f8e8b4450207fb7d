"""How records are read by what measures without training: as a job on the same model would read them."""

from core.schema.models import ModelShape
from core.schema.training import Training, TrainingRequest
from core.unlearning.objectives import fill_training

_ANY_METHOD = "calibrated"
"""Recipes differ in how they train: what decides how records are read is the same in all."""


def reading(asked: TrainingRequest, shape: ModelShape) -> Training:
    """The request with its gaps filled as the service fills them; a record's chunks end with the model's context."""
    training = fill_training(asked, _ANY_METHOD, parameters=shape.parameters, forget_records=1)
    training.max_length = min(training.max_length, shape.context)
    return training
