"""Properties that hold for the estimate of any job."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.preflight import capacity
from core.preflight.estimate import estimate
from core.preflight.unlearn_workload import UnlearnWorkload
from core.preflight.workload import SetSize, Workload
from core.schema.preflight import Estimate, WorkerClass
from core.schema.training import Lora
from tests.unit.preflight.workloads import llama, with_training, workloads

quick = settings(max_examples=60, deadline=None)


def needs_no_less(larger: Workload, smaller: Workload, *, slack: int = 0) -> bool:
    """Whether the larger job needs at least the memory and disk of the smaller one, but for some bytes of slack."""

    def sizes(job: Estimate) -> tuple[int, int, int]:
        return job.peak_host_bytes, job.peak_device_bytes or 0, job.scratch_bytes

    pairs = zip(sizes(estimate(smaller)), sizes(estimate(larger)), strict=True)
    return all(low <= high + slack for low, high in pairs)


@quick
@given(workloads(), st.integers(1, 4096))
def test_longer_chunks_never_take_less(job: UnlearnWorkload, more: int) -> None:
    longer = with_training(job, max_length=job.training.max_length + more)
    assert needs_no_less(longer, job)


@quick
@given(workloads(), st.integers(1, 1000))
def test_more_records_in_an_update_never_take_less(job: UnlearnWorkload, more: int) -> None:
    larger = with_training(job, records_per_step=job.training.records_per_step + more)
    # fewer updates leave fewer gaps in the heap, and a single update has no moments beside its activations
    if larger.steps == job.steps:
        assert needs_no_less(larger, job)


@quick
@given(workloads(), st.integers(1, 5000))
def test_more_records_of_the_same_length_never_take_less(job: UnlearnWorkload, more: int) -> None:
    size = job.sets["forget"]
    grown = SetSize(size.records + more, round((size.records + more) * size.mean))
    assert needs_no_less(replace(job, sets=dict.fromkeys(job.sets, grown)), job)


@quick
@given(workloads(), st.integers(1, 4000))
def test_longer_records_never_take_less(job: UnlearnWorkload, more: int) -> None:
    size = job.sets["forget"]
    grown = SetSize(size.records, size.tokens + more * size.records)
    assert needs_no_less(replace(job, sets=dict.fromkeys(job.sets, grown)), job)


@quick
@given(workloads(), st.integers(1, 100_000), st.integers(0, 20))
def test_a_larger_vocabulary_or_more_layers_never_take_less(job: UnlearnWorkload, words: int, layers: int) -> None:
    shape = job.shape
    grown = llama(
        hidden=shape.hidden_size,
        layers=shape.layers + layers,
        heads=shape.heads,
        vocabulary=shape.vocabulary + words,
        wide=shape.intermediate or 0,
    )
    assert needs_no_less(replace(job, shape=grown), job)


@quick
@given(workloads(), st.sampled_from([1, 8, 16]))
def test_an_adapter_never_takes_more_than_all_weights(job: UnlearnWorkload, rank: int) -> None:
    # a method that chooses its weights itself takes no adapter
    if job.training.master_weights == "float32" and job.method.trained_weights(job.shape.layers) is None:
        adapted = with_training(job, lora=Lora(rank=rank))
        # the activations of the adapter's own layers with the heap's gaps, and its weights, gradients and moments, all
        # of them on each device: on the smallest models they take more than the adapter saves
        kept = 28 * rank * job.shape.layers * job.training_batch_tokens
        assert needs_no_less(job, adapted, slack=8 * kept + 16 * adapted.trained_parameters)


@quick
@given(workloads())
def test_recomputing_activations_never_takes_more(job: UnlearnWorkload) -> None:
    if job.shape.layers > 1:
        assert needs_no_less(with_training(job, checkpointing=False), with_training(job, checkpointing=True))


@quick
@given(workloads())
def test_a_job_fits_with_the_suggested_changes(job: UnlearnWorkload) -> None:
    for worker in (
        WorkerClass(name="host", memory_bytes=16 << 30),
        WorkerClass(name="gpu", gpus=8, memory_bytes=24 << 30, host_bytes=256 << 30),
    ):
        shortage = capacity.find_shortage(job, [worker])
        for changes in capacity.fitting_changes(job, [worker]) if shortage else ():
            changed = capacity.apply_changes(job, changes)
            assert changed != job
            assert capacity.find_shortage(changed, [worker]) is None
