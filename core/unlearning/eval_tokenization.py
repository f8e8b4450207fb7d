"""How records are tokenized for measuring: the service decides, whatever a job trains by."""

from core.schema.models import ModelShape
from core.schema.training import Chat, MasterWeights, Training, TrainingRequest
from core.unlearning.objectives import fill_training

EVAL_LENGTH = 4096
"""Tokens of a chunk, where the model's context has room for them. Shorter chunks hide how much of a whole record the
model recalls: a memorised text looks forgotten in chunks of 16 tokens."""

EVAL_SEED = 0
"""Fixed seed of twins, samples and resamples: a submitter cannot re-sample until a figure suits her."""

_ANY_METHOD = "calibrated"
"""Recipes differ in how methods train, not in the settings that decide how records are tokenized."""


def eval_settings(training: Training, *, context: int | None) -> Training:
    """The settings that a job is measured with: its training's, except tokenization and seed, which no request chooses.

    Chunks have EVAL_LENGTH tokens, or the training's where that is more, within the model's `context` (None: unknown).
    `messages` go through the model's chat template where it has one, since that is how the model is prompted; for a job
    that trains without it, on records that the template refuses, see `core.pipeline.chat_validation`.
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
    """The settings that a model is measured with outside of an unlearning job: those of every such job on it, except
    where an argument is given."""
    request = TrainingRequest(master_weights=master_weights)
    filled = fill_training(request, _ANY_METHOD, parameters=shape.parameters, forget_records=1)
    chosen = {"max_length": max_length, "chat": chat, "seed": seed}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    return eval_settings(filled, context=shape.context).model_copy(update=chosen)
