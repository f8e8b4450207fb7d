"""Checks that a loaded model can be trained as its job requests."""

from transformers import PreTrainedModel

from core.lm import adapter_targets
from core.lm.residual_stream import layer_count
from core.pipeline.phases import Emit
from core.schema.events import Warned
from core.schema.job_spec import UnlearnSpec
from core.unlearning.method import Method
from core.unlearning.parameter_selection import check_selection


def check_trainable(spec: UnlearnSpec, model: PreTrainedModel, method: Method, emit: Emit) -> None:
    """Raises CoreError where the model cannot be trained as requested.

    Warns of modules that get no adapter, and of adapters that only this service merges correctly.
    """
    layers, lora, adapter_only = layer_count(model), spec.training.lora, spec.deliver == "adapter"
    only = method.trained_weights(layers)
    left_out = check_selection(model, spec.training, only, layer=method.layer(layers), delivered=adapter_only)
    if left_out:
        emit(Warned(code="no_adapter_there", message=adapter_targets.describe_left_out(left_out)))
    if (
        adapter_only
        and lora is not None
        and (names := adapter_targets.shared_weight_names(adapter_targets.find_targets(model, lora.modules)))
    ):
        message = (
            f"layers share one weight and one adapter ({', '.join(names)}): peft reads it rightly, but its merging"
            " would add it once for each of them; for a merged model choose output 'merged'"
        )
        emit(Warned(code="merged_here_only", message=message))
