"""Workloads of any size for preflight, without files or weights."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from core.evaluation.measurement import Measurement
from core.preflight.measure_workload import MeasureWorkload
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize, Workload
from core.schema.models import ModelShape, TensorGroup
from core.schema.training import TrainingRequest
from core.unlearning.objectives import METHODS, fill_training, resolve


def llama(*, hidden: int = 4096, layers: int = 32, heads: int = 32, vocabulary: int = 128256, wide: int = 14336) -> Any:
    """Returns the shape of a Llama in bfloat16, by default that of Llama-3-8B (8,030,261,248 weights)."""
    narrow = hidden // 4
    matrices = {
        "self_attn.q_proj": [hidden, hidden],
        "self_attn.k_proj": [narrow, hidden],
        "self_attn.v_proj": [narrow, hidden],
        "self_attn.o_proj": [hidden, hidden],
        "mlp.gate_proj": [wide, hidden],
        "mlp.up_proj": [wide, hidden],
        "mlp.down_proj": [hidden, wide],
        "input_layernorm": [hidden],
        "post_attention_layernorm": [hidden],
    }
    tensors = [
        TensorGroup(name=f"model.layers.*.{name}.weight", shape=sizes, count=layers) for name, sizes in matrices.items()
    ]
    for name, sizes in (
        ("model.embed_tokens", [vocabulary, hidden]),
        ("lm_head", [vocabulary, hidden]),
        ("model.norm", [hidden]),
    ):
        tensors.append(TensorGroup(name=f"{name}.weight", shape=sizes, count=1))
    weights = sum(math.prod(group.shape) * group.count for group in tensors)
    return ModelShape(
        architecture="LlamaForCausalLM",
        parameters=weights,
        bytes=2 * weights,
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        vocabulary=vocabulary,
        context=8192,
        dtype="bfloat16",
        intermediate=wide,
        key_value_heads=heads // 4,
        head_size=hidden // heads,
        tied=False,
        tensors=tensors,
    )


def workload(
    shape: ModelShape | None = None,
    *,
    method: str = "ascent_kl",
    records: int = 200,
    length: int = 200,
    gpus: int = 0,
    **training: Any,
) -> UnlearnWorkload:
    """Returns a job with the same number of records in each of its sets, of `length` tokens each."""
    shape = shape or llama()
    filled = fill_training(TrainingRequest(**training), method, parameters=shape.parameters, forget_records=records)
    sets = dict.fromkeys(("forget", "retain", "unseen"), SetSize(records, records * length))
    return UnlearnWorkload(shape, filled, sets, method=resolve(method, {}), gpus=gpus, bfloat16=True)


def dry_run(job: Workload, measurements: Sequence[Measurement] | None = None) -> MeasureWorkload:
    """Returns the job's dry run, which only measures."""
    return MeasureWorkload(
        job.shape,
        job.training,
        job.sets,
        gpus=job.gpus,
        dtype=job.dtype,
        bfloat16=job.bfloat16,
        measurements=job.measurements if measurements is None else measurements,
    )


def with_training(job: UnlearnWorkload, **changed: Any) -> UnlearnWorkload:
    """Returns the job with other settings of its training."""
    return replace(job, training=job.training.model_copy(update=changed))


methods = st.sampled_from(sorted(METHODS))
gpu_counts = st.sampled_from([0, 1, 4])


@st.composite
def shapes(draw: st.DrawFn) -> ModelShape:
    heads = draw(st.sampled_from([4, 8, 32]))
    shape: ModelShape = llama(
        hidden=heads * draw(st.sampled_from([32, 64, 128])),
        layers=draw(st.integers(1, 48)),
        heads=heads,
        vocabulary=draw(st.integers(256, 200_000)),
        wide=heads * draw(st.sampled_from([96, 344])),
    )
    return shape


@st.composite
def workloads(draw: st.DrawFn) -> UnlearnWorkload:
    return workload(
        draw(shapes()),
        method=draw(methods),
        records=draw(st.integers(1, 5000)),
        length=draw(st.integers(2, 4000)),
        gpus=draw(gpu_counts),
        records_per_step=draw(st.integers(1, 600)),
        max_length=draw(st.integers(16, 8192)),
        optimizer=draw(st.sampled_from(["adamw", "adamw8bit", "sgd"])),
        master_weights=draw(st.sampled_from(["float32", "bfloat16"])),
        checkpointing=draw(st.booleans()),
        precision=draw(st.sampled_from(["auto", "float32", "bfloat16"])),
    )
