"""Training by plain gradient descent without clipping, so that the formulas can be followed for two updates."""

from core.schema.job_spec import RecordSet
from core.schema.training import Training
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import train
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer

RATE = 0.05


def plain_training(**changes):
    return Training(
        **{
            "learning_rate": RATE,
            "scheduler": "constant",
            "warmup": 0.0,
            "optimizer": "sgd",
            "weight_decay": 0.0,
            "epochs": 2,
            "records_per_step": 100,
            "max_length": 64,
            "chat": "raw",
            "precision": "float32",
            "seed": 5,
            "gradient_clip": 1e9,
            "micro_batch_tokens": 100_000,
        }
        | changes
    )


def example_sets():
    return TrainingSets(
        forget=records(6, seed=1),
        retain=[
            RecordSet(name="retain", kind="in_distribution", weight=1.0, records=records(5, seed=2)),
            RecordSet(name="general", kind="general", weight=3.0, records=records(4, seed=3)),
        ],
        unseen=records(7, seed=4),
    )


def run(method, parameters=None, *, training=None, sets=None, model=None, events=None, stop=lambda: False, **options):
    """(the trained model, the result)."""
    model = model or tiny_model()
    report = (lambda event: None) if events is None else events.append
    result = train(
        model,
        tiny_tokenizer(),
        method,
        parameters or {},
        training or plain_training(),
        sets or example_sets(),
        report=report,
        should_stop=stop,
        **options,
    )
    return model, result


def weights(model):
    return [weight.detach().clone() for weight in model.parameters()]
