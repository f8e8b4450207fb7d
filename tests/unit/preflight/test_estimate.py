"""Numbers that can be checked by hand, and those that people ask for."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy import preview
from core.preflight import capacity, duration, flops, messages
from core.preflight.estimate import estimate
from core.preflight.memory import Memory
from core.preflight.parameter_counts import expand_names, trained_parameters
from core.preflight.workload import SetSize, Workload
from core.schema.models import TensorGroup
from core.schema.preflight import WorkerClass
from core.schema.training import Lora
from tests.unit.preflight.workloads import llama, with_training, work

EIGHT_BILLION = 8_030_261_248
GB = 1 << 30


def items(one: Workload, phase: str) -> dict[str, int]:
    return {item.name: item.bytes for found in Memory(one).phases if found.name == phase for item in found.items}


def test_weights_gradients_and_moments_of_eight_billion_weights_on_a_gpu() -> None:
    found = items(work(gpus=1, epochs=2), "updating")
    assert found["weights"] == 4 * EIGHT_BILLION
    assert found["gradients"] == 4 * EIGHT_BILLION
    assert found["the optimiser's states"] == 8 * EIGHT_BILLION
    assert "the weights as they were" not in found


def test_in_bfloat16_all_of_them_take_half() -> None:
    found = items(work(gpus=1, epochs=2, master_weights="bfloat16"), "updating")
    assert [found[name] for name in ("weights", "gradients", "the optimiser's states")] == [
        2 * EIGHT_BILLION,
        2 * EIGHT_BILLION,
        4 * EIGHT_BILLION,
    ]


def test_moments_in_eight_bits_take_a_byte_each_and_a_scale_for_every_256() -> None:
    found = items(work(gpus=1, epochs=2, optimizer="adamw8bit"), "updating")
    assert found["the optimiser's states"] == pytest.approx(2 * EIGHT_BILLION * (1 + 4 / 256), abs=1)


def test_descent_without_momentum_keeps_nothing() -> None:
    assert "the optimiser's states" not in items(work(gpus=1, optimizer="sgd"), "updating")


def test_several_gpus_share_weights_and_not_activations() -> None:
    one, four = items(work(gpus=1, epochs=2), "unlearning"), items(work(gpus=4, epochs=2), "unlearning")
    assert four["weights"] == one["weights"] // 4
    assert four["the optimiser's states"] == one["the optimiser's states"] // 4
    assert four["activations"] == one["activations"]


def test_a_job_of_one_update_has_no_moments_beside_its_activations() -> None:
    assert "the optimiser's states" not in items(work(records=10, epochs=1), "unlearning")
    assert "the optimiser's states" in items(work(records=10, epochs=2), "unlearning")


def test_the_originals_hidden_states_are_kept_for_the_half_that_trains() -> None:
    kept = items(work(gpus=1, method="ascent_kl", records=1000, length=100), "unlearning")
    assert kept["the original's hidden states"] == 0.6 * 100_000 * 4096 * 2
    assert "the original's hidden states" not in items(work(gpus=1, method="ascent_descent"), "unlearning")


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
def test_what_is_trained_is_counted_by_name(training: dict[str, Any], trained: int) -> None:
    one = work(**training)
    assert trained_parameters(one) == trained
    assert estimate(one).trained_parameters == trained


def test_a_group_of_experts_has_a_name_for_each() -> None:
    group = TensorGroup(name="layers.*.experts.*.weight", shape=[2], count=4, first=1)
    assert list(expand_names(group, layers=2)) == [
        "layers.1.experts.0.weight",
        "layers.1.experts.1.weight",
        "layers.2.experts.0.weight",
        "layers.2.experts.1.weight",
    ]


def test_a_shape_that_was_read_before_names_were_is_reckoned_as_trained_whole() -> None:
    old = llama().model_copy(update={"tensors": [], "intermediate": None, "key_value_heads": None, "head_size": None})
    assert trained_parameters(work(old, trainable=["model.layers.1.*"])) == EIGHT_BILLION
    assert 0 < trained_parameters(work(old, lora=Lora())) < EIGHT_BILLION // 100
    assert estimate(work(old)).peak_host_bytes > 18 * EIGHT_BILLION


def test_eight_billion_weights_do_not_fit_into_80_gb_and_it_says_what_does() -> None:
    cards = [WorkerClass(name="a100", gpus=1, memory_bytes=80 * GB)]
    job = work(gpus=1, epochs=2)
    short = capacity.find_shortage(job, cards)
    assert short is not None
    assert short.needed > 128 * 10**9
    assert "'a100'" in messages.describe_shortage(short, 1)
    first = capacity.fitting_changes(job, cards)[0]
    assert {change.pointer for change in first} <= {"/training/master_weights", "/training/checkpointing"} | {
        "/training/optimizer"
    }
    assert capacity.find_shortage(capacity.apply_changes(job, first), cards) is None


def test_more_gpus_are_suggested_where_there_are_machines_with_more() -> None:
    machines = [WorkerClass(name="eight", gpus=8, memory_bytes=80 * GB)]
    job = work(gpus=1, epochs=2, checkpointing=True)
    (change,) = capacity.fitting_changes(job, machines)[0]
    assert change.pointer == "/resources/gpus"
    assert capacity.find_shortage(replace(job, gpus=change.value), machines) is None
    assert capacity.find_shortage(replace(job, gpus=change.value - 1), machines) is not None
    # sharing does nothing for what each GPU has for itself
    changes = capacity.fitting_changes(work(gpus=1, epochs=2), machines)
    assert [one.pointer for one in changes[0]] == ["/training/checkpointing", "/resources/gpus"]


def test_nothing_is_suggested_twice_nor_with_more_than_it_takes() -> None:
    machines = [WorkerClass(name="eight", gpus=8, memory_bytes=80 * GB)]
    found = [
        {one.pointer for one in these} for these in capacity.fitting_changes(work(epochs=2, gpus=1), machines, most=9)
    ]
    assert len(found) > 1
    assert not any(one <= other for at, one in enumerate(found) for other in found[at + 1 :])


def test_what_would_take_less_takes_a_fifth_less_each_time_in_those_phases() -> None:
    job, during = work(gpus=1), ("unlearning",)
    found = capacity.memory_savings(job, during)

    def needed(one: Workload) -> int:
        return next(phase.total("device") for phase in Memory(one).phases if phase.name == "unlearning")

    assert [one.before for one in found] == [needed(job)] * len(found)
    assert [one.after for one in found] == [needed(capacity.apply_changes(job, one.changes)) for one in found]
    steps = [needed(job), *(one.after for one in found)]
    assert len(found) > 2
    assert all(after <= 0.8 * before for before, after in itertools.pairwise(steps))
    assert messages.savings_advice(found).startswith(
        f"it was expected to take {messages.format_bytes(needed(job))} there, and would take "
    )
    assert "training.lora = {}" in messages.savings_advice(found)


def test_where_nothing_takes_less_nothing_is_suggested() -> None:
    small = work(gpus=1, lora={}, checkpointing=True, master_weights="bfloat16")
    assert capacity.memory_savings(small, ("unlearning",)) == []
    assert messages.savings_advice([]).startswith("nothing")
    # nor by a second GPU, which has to hold the whole model too before training begins
    assert (
        capacity.memory_savings(small, ("loading", "unlearning"), [WorkerClass(name="two", gpus=2, memory_bytes=GB)])
        == []
    )


def test_nothing_declared_refuses_nothing() -> None:
    assert capacity.find_shortage(work(epochs=2), []) is None


def test_the_best_of_several_classes_decides() -> None:
    small, large = WorkerClass(name="s", memory_bytes=GB), WorkerClass(name="l", memory_bytes=1 << 40)
    assert capacity.find_shortage(work(), [small, large]) is None
    short = capacity.find_shortage(work(), [small, WorkerClass(name="m", memory_bytes=2 * GB)])
    assert short is not None
    assert short.worker_class is not None
    assert short.worker_class.name == "m"


def test_no_machine_has_so_many_gpus() -> None:
    short = capacity.find_shortage(work(gpus=4), [WorkerClass(name="one", gpus=1, memory_bytes=1 << 40)])
    assert short is not None
    assert "no declared worker has 4 GPUs" in messages.describe_shortage(short, 4)


def test_bytes_become_tokens_by_the_models_own_tokenizer() -> None:
    shape = llama().model_copy(update={"bytes_per_token": 4.0})
    assert SetSize.from_file(records=10, size=4000, shape=shape) == SetSize(10, 1000)
    assert SetSize.from_file(records=10, size=3000, shape=llama()) == SetSize(10, 1000)


def run(job: Workload, **changed: Any) -> duration.FinishedJob:
    """A run of this very job: 50 seconds of updates, 20 of measuring, 7 of what is around them."""
    known = {
        "model": "m",
        "shape": job.shape,
        "tokens": job.trained_tokens,
        "seconds": {
            "loading": 4.0 + job.shape.bytes / 500e6,
            "measuring_before": 20.0,
            "unlearning": 50.0,
            "saving": 3,
        },
        "flops": {
            "measuring_before": flops.flops_per_token(job.shape) * flops.total_measured_tokens(job),
            "unlearning": flops.training_flops(job),
        },
        "passed": {"measuring_before": flops.total_measured_tokens(job)},
    }
    return duration.FinishedJob(**{**known, **changed})


ONE_PASS = tuple(resolve_measurements(["likelihood"]))


def test_a_job_takes_as_long_as_the_same_one_before_it() -> None:
    job = replace(work(records=10, length=100), measurements=ONE_PASS)
    assert duration.estimate_seconds(job, "m", []) is None
    whole = 7 + 50 + 15 + 2 * duration.START_SECONDS + job.shape.bytes / 500e6  # it measures twice
    assert duration.estimate_seconds(job, "m", [run(job)]) == pytest.approx(whole, rel=1e-3)
    slower = run(job, model="x", seconds={"unlearning": 5000.0})
    # the same model's own runs say more than another's
    assert duration.estimate_seconds(job, "m", [run(job), slower]) == pytest.approx(whole, rel=1e-3)


def test_what_a_job_starts_with_does_not_grow_with_its_tokens() -> None:
    job = work(llama(hidden=512, layers=4, heads=8, vocabulary=2000, wide=1024), records=10, length=100)
    longer = replace(job, sets={name: SetSize(10, 100 * text.tokens) for name, text in job.sets.items()})
    one, hundred = (duration.estimate_seconds(of, "m", [run(job)]) for of in (job, longer))
    assert one is not None
    assert hundred is not None
    assert hundred - 7 == pytest.approx(duration.START_SECONDS + 100 * (50 - duration.START_SECONDS), rel=0.01)
    assert one - 7 == pytest.approx(50, rel=0.05)


def test_a_wider_model_reaches_more_of_the_machine_than_its_weights_are_more() -> None:
    """A tiny model's seconds, scaled by weights, were eight times too many for a larger one."""
    small = work(llama(hidden=128, layers=4, heads=8, vocabulary=2000, wide=512), records=10, length=100)
    large = work(llama(hidden=1024, layers=16, heads=8, vocabulary=32000, wide=4096), records=10, length=100)
    found = duration.estimate_seconds(large, "large", [run(small)])
    assert found is not None
    times = flops.training_flops(large) / flops.training_flops(small)
    narrow = (1 + duration.HALF_SPEED_WIDTH / 1024) / (1 + duration.HALF_SPEED_WIDTH / 128)
    assert found == pytest.approx(12 + large.shape.bytes / 500e6 + 45 * times * narrow, rel=1e-3)
    assert found < 0.6 * 50 * times


def test_jobs_that_lie_apart_show_what_any_job_begins_with() -> None:
    job = replace(work(records=10, length=100), method=None, measurements=ONE_PASS)
    spent = flops.flops_per_token(job.shape) * flops.total_measured_tokens(job)

    def took(times: int, seconds: float) -> duration.FinishedJob:
        return run(job, seconds={"measuring_before": seconds}, flops={"measuring_before": times * spent}, passed={})

    found = duration.estimate_seconds(job, "m", [took(1, 31.0), took(10, 40.0), took(100, 130.0)])
    assert found == pytest.approx(31.0 + job.shape.bytes / 500e6, rel=1e-2)
    alike = duration.estimate_seconds(job, "m", [took(1, 31.0), took(1, 31.0)])
    assert alike == pytest.approx(31.0 + job.shape.bytes / 500e6, rel=1e-2)


def test_a_measurement_takes_no_longer_than_its_budget() -> None:
    job = replace(work(records=10, length=100), method=None, measurements=tuple(resolve_measurements(["exposure"])))
    slow = run(job, seconds={"measuring_before": 1e6})
    assert duration.estimate_seconds(job, "m", [slow]) == pytest.approx(605 + job.shape.bytes / 500e6, rel=1e-3)


def test_what_was_wrong_about_tokens_before_is_put_right() -> None:
    job = work(records=10, length=100)
    before = run(job, tokens=job.trained_tokens // 2, expected_tokens=job.trained_tokens)
    whole = 7 + 5 + 45 / 2 + job.shape.bytes / 500e6
    assert duration.estimate_seconds(job, "m", [before]) == pytest.approx(whole, rel=1e-2)


def test_a_dry_run_is_measured_with_what_training_would_need_left_out() -> None:
    job = work(records=5, length=200)
    dry = replace(job, method=None, measurements=tuple(resolve_measurements(preview.measurement_choices())))
    found, whole = estimate(dry), estimate(job)
    assert (found.tokens, found.trained_parameters, found.scratch_bytes) == (0, 0, 0)
    assert found.measured_tokens == 5 * 200 * (1 + 20 + 1) + 2 * 2.5 * 0 + 5 * 100 + 5 * 200
    assert found.peak_host_bytes < 0.45 * whole.peak_host_bytes
    weights = 4 * EIGHT_BILLION
    assert weights < found.peak_host_bytes < 1.7 * weights
    assert {phase.name for phase in Memory(dry).phases} == {"loading", "measuring"}
    small = [WorkerClass(name="small", memory_bytes=int(1.6 * weights))]
    assert capacity.find_shortage(job, small) is not None
    assert capacity.find_shortage(dry, small) is None


def test_a_dry_run_that_fits_nowhere_is_told_no_change_of_how_it_would_train() -> None:
    dry = replace(work(), method=None)
    (these,) = capacity.fitting_changes(dry, [WorkerClass(name="small", memory_bytes=40 * GB)])
    assert [change.pointer for change in these] == ["/training/master_weights"]
    assert capacity.fitting_changes(dry, [WorkerClass(name="tiny", memory_bytes=GB)]) == []


def test_a_measurement_with_gradients_takes_their_memory() -> None:
    def peak(*names: str) -> int:
        return estimate(replace(work(), method=None, measurements=tuple(resolve_measurements(names)))).peak_host_bytes

    assert peak("likelihood", "gradnorm") > peak("likelihood") + 4 * EIGHT_BILLION
    assert peak("relearned") > peak("gradnorm") + 8 * EIGHT_BILLION


def test_snapshots_are_two_at_a_time() -> None:
    without = estimate(work(snapshot_every=0)).scratch_bytes
    assert without == 2 * EIGHT_BILLION
    assert estimate(work(snapshot_every=10)).scratch_bytes == without + 2 * 12 * EIGHT_BILLION
    assert with_training(work(), snapshot_every=0) != work()


def test_every_gpu_holds_the_whole_model_until_training_begins() -> None:
    for phase in ("loading", "measuring", "preparing"):
        assert items(work(gpus=4), phase)["the whole model"] == 3 * EIGHT_BILLION
    found = items(work(gpus=4), "unlearning")
    assert found["weights"] == EIGHT_BILLION
    assert "the whole model" not in found
