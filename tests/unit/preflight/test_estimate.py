"""Estimates of memory and weights whose numbers can be checked by hand."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy import preview
from core.preflight import capacity, messages
from core.preflight.estimate import estimate
from core.preflight.memory import HEAP, MOST_GAPS, Memory
from core.preflight.parameter_counts import expand_names
from core.preflight.workload import SetSize, Workload
from core.schema.evaluation import MeasurementChoice
from core.schema.models import ModelShape, TensorGroup
from core.schema.preflight import WorkerClass
from core.schema.training import Lora
from tests.unit.preflight.workloads import dry_run, llama, with_training, workload

EIGHT_BILLION = 8_030_261_248
GB = 1 << 30


def items(job: Workload, name: str) -> dict[str, int]:
    """Returns the bytes of each item in memory during a phase."""
    return {item.name: item.bytes for phase in Memory(job).phases if phase.name == name for item in phase.items}


def test_weights_gradients_and_moments_of_eight_billion_weights_on_a_gpu() -> None:
    sizes = items(workload(gpus=1, epochs=2), "updating")
    assert sizes["weights"] == 4 * EIGHT_BILLION
    assert sizes["gradients"] == 4 * EIGHT_BILLION
    assert sizes["the optimiser's states"] == 8 * EIGHT_BILLION
    assert "the weights as they were" not in sizes


def test_weights_gradients_and_moments_take_half_in_bfloat16() -> None:
    sizes = items(workload(gpus=1, epochs=2, master_weights="bfloat16"), "updating")
    assert [sizes[name] for name in ("weights", "gradients", "the optimiser's states")] == [
        2 * EIGHT_BILLION,
        2 * EIGHT_BILLION,
        4 * EIGHT_BILLION,
    ]


def test_moments_in_eight_bits_take_a_byte_each_and_a_scale_for_every_256() -> None:
    sizes = items(workload(gpus=1, epochs=2, optimizer="adamw8bit"), "updating")
    assert sizes["the optimiser's states"] == pytest.approx(2 * EIGHT_BILLION * (1 + 4 / 256), abs=1)


def test_descent_without_momentum_has_no_optimiser_states() -> None:
    assert "the optimiser's states" not in items(workload(gpus=1, optimizer="sgd"), "updating")


def test_several_gpus_share_weights_but_not_activations() -> None:
    single, shared = items(workload(gpus=1, epochs=2), "unlearning"), items(workload(gpus=4, epochs=2), "unlearning")
    assert shared["weights"] == single["weights"] // 4
    assert shared["the optimiser's states"] == single["the optimiser's states"] // 4
    assert shared["activations"] == single["activations"]


def test_a_job_of_one_update_has_no_moments_beside_its_activations() -> None:
    assert "the optimiser's states" not in items(workload(records=10, epochs=1), "unlearning")
    assert "the optimiser's states" in items(workload(records=10, epochs=2), "unlearning")


def test_the_reference_models_hidden_states_are_kept_for_the_half_that_trains() -> None:
    kept = items(workload(gpus=1, method="ascent_kl", records=1000, length=100), "unlearning")
    assert kept["the original's hidden states"] == 0.6 * 100_000 * 4096 * 2
    assert "the original's hidden states" not in items(workload(gpus=1, method="ascent_descent"), "unlearning")


@pytest.mark.parametrize(
    ("training", "trained"),
    [
        ({}, EIGHT_BILLION),
        ({"trainable": ["model.layers.1*.mlp.down_proj.weight"]}, 11 * 4096 * 14336),
        ({"trainable": ["model.layers.31.*", "lm_head.*"]}, 218_112_000 + 128256 * 4096),
        ({"lora": Lora(rank=16)}, 16 * 32 * (2 * 8192 + 2 * 5120 + 3 * 18432)),
        ({"lora": Lora(rank=8, modules=["q_proj", "v_proj"])}, 8 * 32 * (8192 + 5120)),
    ],
)
def test_trained_weights_are_counted_by_name(training: dict[str, Any], trained: int) -> None:
    job = workload(**training)
    assert job.trained_parameters == trained
    assert estimate(job).trained_parameters == trained


def test_a_group_of_experts_expands_to_a_name_for_each_expert() -> None:
    group = TensorGroup(name="layers.*.experts.*.weight", shape=[2], count=4, first=1)
    assert list(expand_names(group, layers=2)) == [
        "layers.1.experts.0.weight",
        "layers.1.experts.1.weight",
        "layers.2.experts.0.weight",
        "layers.2.experts.1.weight",
    ]


def test_a_shape_without_tensor_names_is_estimated_as_trained_in_full() -> None:
    old = llama().model_copy(update={"tensors": [], "intermediate": None, "key_value_heads": None, "head_size": None})
    assert workload(old, trainable=["model.layers.1.*"]).trained_parameters == EIGHT_BILLION
    assert 0 < workload(old, lora=Lora()).trained_parameters < EIGHT_BILLION // 100
    assert estimate(workload(old)).peak_host_bytes > 18 * EIGHT_BILLION


def test_eight_billion_weights_do_not_fit_into_80_gb_and_the_first_change_makes_them_fit() -> None:
    cards = [WorkerClass(name="a100", gpus=1, memory_bytes=80 * GB)]
    job = workload(gpus=1, epochs=2)
    shortage = capacity.find_shortage(job, cards)
    assert shortage is not None
    assert shortage.needed > 128 * 10**9
    assert "'a100'" in messages.describe_shortage(shortage, 1)
    first = capacity.fitting_changes(job, cards)[0]
    assert {change.pointer for change in first} <= {"/training/master_weights", "/training/checkpointing"} | {
        "/training/optimizer"
    }
    assert capacity.find_shortage(capacity.apply_changes(job, first), cards) is None


def test_more_gpus_are_suggested_where_there_are_machines_with_more() -> None:
    machines = [WorkerClass(name="eight", gpus=8, memory_bytes=80 * GB)]
    job = workload(gpus=1, epochs=2, checkpointing=True)
    (change,) = capacity.fitting_changes(job, machines)[0]
    assert change.pointer == "/resources/gpus"
    assert capacity.find_shortage(replace(job, gpus=change.value), machines) is None
    assert capacity.find_shortage(replace(job, gpus=change.value - 1), machines) is not None
    # several GPUs do not share activations
    changes = capacity.fitting_changes(workload(gpus=1, epochs=2), machines)
    assert [change.pointer for change in changes[0]] == ["/training/checkpointing", "/resources/gpus"]


def test_no_suggestion_includes_another_one() -> None:
    machines = [WorkerClass(name="eight", gpus=8, memory_bytes=80 * GB)]
    alternatives = capacity.fitting_changes(workload(epochs=2, gpus=1), machines, most=9)
    pointers = [{change.pointer for change in changes} for changes in alternatives]
    assert len(pointers) > 1
    assert not any(smaller <= larger for at, smaller in enumerate(pointers) for larger in pointers[at + 1 :])


def test_each_saving_takes_a_fifth_less_memory_than_the_one_before() -> None:
    job, during = workload(gpus=1), ("unlearning",)
    savings = capacity.memory_savings(job, during)

    def needed(changed: Workload) -> int:
        return next(phase.total("device") for phase in Memory(changed).phases if phase.name == "unlearning")

    assert [saving.before for saving in savings] == [needed(job)] * len(savings)
    assert [saving.after for saving in savings] == [
        needed(capacity.apply_changes(job, saving.changes)) for saving in savings
    ]
    steps = [needed(job), *(saving.after for saving in savings)]
    assert len(savings) > 2
    assert all(after <= 0.8 * before for before, after in itertools.pairwise(steps))
    assert messages.savings_advice(savings).startswith(
        f"it was expected to take {messages.format_bytes(needed(job))} there, and would take "
    )
    assert "training.lora = {}" in messages.savings_advice(savings)


def test_no_saving_is_suggested_where_no_change_takes_less() -> None:
    small = workload(gpus=1, lora={"rank": 8}, checkpointing=True, master_weights="bfloat16")
    assert capacity.memory_savings(small, ("unlearning",)) == []
    assert messages.savings_advice([]).startswith("nothing")
    # a second GPU does not help: it holds the whole model too before training begins
    assert (
        capacity.memory_savings(small, ("loading", "unlearning"), [WorkerClass(name="two", gpus=2, memory_bytes=GB)])
        == []
    )


def test_without_declared_worker_classes_no_job_is_refused() -> None:
    assert capacity.find_shortage(workload(epochs=2), []) is None


def test_the_largest_of_several_classes_decides() -> None:
    small, large = WorkerClass(name="s", memory_bytes=GB), WorkerClass(name="l", memory_bytes=1 << 40)
    assert capacity.find_shortage(workload(), [small, large]) is None
    shortage = capacity.find_shortage(workload(), [small, WorkerClass(name="m", memory_bytes=2 * GB)])
    assert shortage is not None
    assert shortage.worker_class is not None
    assert shortage.worker_class.name == "m"


def test_a_job_of_more_gpus_than_any_machine_has_is_refused() -> None:
    shortage = capacity.find_shortage(workload(gpus=4), [WorkerClass(name="one", gpus=1, memory_bytes=1 << 40)])
    assert shortage is not None
    assert "no declared worker has 4 GPUs" in messages.describe_shortage(shortage, 4)


def test_a_files_tokens_are_estimated_by_the_models_own_tokenizer() -> None:
    shape = llama().model_copy(update={"bytes_per_token": 4.0})
    assert SetSize.from_file(records=10, size=4000, shape=shape) == SetSize(10, 1000)
    assert SetSize.from_file(records=10, size=3000, shape=llama()) == SetSize(10, 1000)


def test_a_dry_run_is_estimated_without_the_needs_of_training() -> None:
    job = workload(records=5, length=200)
    dry = dry_run(job, measurements=tuple(resolve_measurements(preview.measurement_choices())))
    dry_estimate, full_estimate = estimate(dry), estimate(job)
    numbers = (dry_estimate.tokens, dry_estimate.trained_parameters, dry_estimate.scratch_bytes)
    assert numbers == (0, 0, 0)
    assert dry_estimate.measured_tokens == 5 * 200 * (1 + 20 + 1) + 2 * 2.5 * 0 + 5 * 100 + 5 * 200
    assert dry_estimate.peak_host_bytes < 0.45 * full_estimate.peak_host_bytes
    weights = 4 * EIGHT_BILLION
    assert weights < dry_estimate.peak_host_bytes < 1.7 * weights
    assert {phase.name for phase in Memory(dry).phases} == {"loading", "measuring"}
    small = [WorkerClass(name="small", memory_bytes=int(1.6 * weights))]
    assert capacity.find_shortage(job, small) is not None
    assert capacity.find_shortage(dry, small) is None


def test_a_dry_run_that_does_not_fit_is_offered_no_change_of_its_training() -> None:
    dry = dry_run(workload())
    (changes,) = capacity.fitting_changes(dry, [WorkerClass(name="small", memory_bytes=40 * GB)])
    assert [change.pointer for change in changes] == ["/training/master_weights"]
    assert capacity.fitting_changes(dry, [WorkerClass(name="tiny", memory_bytes=GB)]) == []


def test_a_measurement_with_gradients_needs_memory_for_them() -> None:
    def peak(*names: str | MeasurementChoice) -> int:
        return estimate(dry_run(workload(), measurements=tuple(resolve_measurements(names)))).peak_host_bytes

    assert peak("likelihood", "gradnorm") > peak("likelihood") + 4 * EIGHT_BILLION
    everything = MeasurementChoice.model_validate({"name": "relearned", "attacks": ["sgd"]})
    assert peak(everything) > peak("gradnorm") + 8 * EIGHT_BILLION
    # from a billion weights on the default attack trains an adapter
    assert peak("likelihood") < peak("relearned") < peak("gradnorm")


def test_the_disk_holds_two_snapshots_at_a_time() -> None:
    without = estimate(workload(snapshot_every=0)).scratch_bytes
    assert without == 2 * EIGHT_BILLION
    assert estimate(workload(snapshot_every=10, tune="off")).scratch_bytes == without + 2 * 12 * EIGHT_BILLION
    tuned = estimate(workload(snapshot_every=10, tune="auto"))
    assert tuned.scratch_bytes == without + 2 * 16 * EIGHT_BILLION, "a snapshot holds the best state, too"
    assert with_training(workload(), snapshot_every=0) != workload()


def test_every_gpu_holds_the_whole_model_until_training_begins() -> None:
    for phase in ("loading", "measuring", "preparing"):
        assert items(workload(gpus=4), phase)["the whole model"] == 3 * EIGHT_BILLION
    sizes = items(workload(gpus=4), "unlearning")
    assert sizes["weights"] == EIGHT_BILLION
    assert "the whole model" not in sizes


def test_the_gaps_of_the_heap_stop_growing_at_half_a_gigabyte() -> None:
    def gaps(shape: ModelShape, records: int) -> int:
        job = workload(shape, method="calibrated", records=records, length=75, epochs=18)
        return items(job, "unlearning")["the heap's gaps"]

    demo = llama(hidden=256, layers=4, heads=4, vocabulary=2048, wide=704)
    smollm = llama(hidden=576, layers=30, heads=9, vocabulary=49152, wide=1536)
    assert 300 << 20 < gaps(demo, 200) <= MOST_GAPS * HEAP + 1
    assert gaps(smollm, 40) == math.ceil(MOST_GAPS * HEAP)


def test_a_defence_against_relearning_takes_memory_for_gradients_and_for_the_attackers_weights() -> None:
    plain = workload()
    sizes = {
        defence: items(with_training(plain, relearning_defence=defence), "unlearning")
        for defence in ("none", "selective", "attacker", "both")
    }
    assert "gradients set aside" not in sizes["none"]
    for defence in ("selective", "attacker", "both"):
        assert sizes[defence]["gradients set aside"] >= 4 * EIGHT_BILLION
        assert ("the attacker's weights" in sizes[defence]) == (defence != "selective")
    projected = items(with_training(plain, conflicting_gradients="project"), "unlearning")
    assert projected["gradients set aside"] == sizes["selective"]["gradients set aside"]
    assert projected["the retain gradient's mean"] >= 4 * EIGHT_BILLION
    attacked = with_training(plain, relearning_defence="attacker", snapshot_every=10)
    without = with_training(plain, snapshot_every=10)
    assert estimate(attacked).scratch_bytes == estimate(without).scratch_bytes + 2 * 4 * EIGHT_BILLION
    projecting = with_training(plain, conflicting_gradients="project", snapshot_every=10)
    assert estimate(projecting).scratch_bytes == estimate(without).scratch_bytes + 2 * 4 * EIGHT_BILLION
    # an attack takes as many tokens again as the forget set's part of an update
    forget = next(draw.tokens for draw in plain.draws() if draw.name == "forget")
    assert attacked.trained_tokens == pytest.approx(plain.trained_tokens + plain.steps * forget, rel=1e-6)
