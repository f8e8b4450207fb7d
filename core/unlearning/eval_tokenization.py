"""How records are read to be measured: the service's choice, whatever a job trains by."""

from core.schema.models import ModelShape
from core.schema.training import Chat, MasterWeights, Training, TrainingRequest
from core.unlearning.objectives import fill_training

EVAL_LENGTH = 4096
"""Tokens of a chunk, where the model's context has room for them. In shorter ones what is recalled of a whole record
cannot be seen: a memorised text looks forgotten in chunks of 16 tokens."""

EVAL_SEED = 0
"""What twins, samples and resamples are drawn by: nobody may draw until she likes the result."""

_ANY_METHOD = "calibrated"
"""Recipes differ in how they train: what decides how records are read is the same in all."""


def eval_settings(training: Training, *, context: int | None) -> Training:
    """What a job is measured by: its training, but for how it reads records, in which a request has no say.

    Chunks as long as the model's context (None: unknown) allows, up to EVAL_LENGTH or the training's own where that is
    longer; `messages` by the model's chat template, where it has one, for that is how the model is asked (see
    `core.pipeline.chat_validation` for a job that trains without it, on records that it refuses); always the same seed.
    """
    length = max(training.max_length, EVAL_LENGTH)
    length = length if context is None else min(length, context)
    return training.model_copy(update={"max_length": length, "chat": "auto", "seed": EVAL_SEED})


def default_eval_settings(
    shape: ModelShape,
    *,
    max_length: int | None = None,
    chat: Chat | None = None,
    seed: int | None = None,
    master_weights: MasterWeights | None = None,
) -> Training:
    """What a model is measured by outside of a job: as in every job on it, but for what is chosen here."""
    asked = TrainingRequest(master_weights=master_weights)
    filled = fill_training(asked, _ANY_METHOD, parameters=shape.parameters, forget_records=1)
    chosen = {"max_length": max_length, "chat": chat, "seed": seed}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    return eval_settings(filled, context=shape.context).model_copy(update=chosen)
