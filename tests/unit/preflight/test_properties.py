"""What must hold of an estimate whatever is estimated."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.preflight import capacity
from core.preflight.estimate import estimate
from core.preflight.parameter_counts import trained_parameters
from core.preflight.workload import SetSize, Workload
from core.schema.preflight import Estimate, WorkerClass
from core.schema.training import Lora
from tests.unit.preflight.workloads import llama, with_training, works

quick = settings(max_examples=60, deadline=None)


def grows(smaller: Workload, larger: Workload, *, but: int = 0) -> bool:
    before, after = estimate(smaller), estimate(larger)

    def numbers(one: Estimate) -> tuple[int, int, int]:
        return one.peak_host_bytes, one.peak_device_bytes or 0, one.scratch_bytes

    return all(low <= high + but for low, high in zip(numbers(before), numbers(after), strict=True))


@quick
@given(works(), st.integers(1, 4096))
def test_longer_chunks_never_take_less(work: Workload, more: int) -> None:
    assert grows(work, with_training(work, max_length=work.training.max_length + more))


@quick
@given(works(), st.integers(1, 1000))
def test_more_records_in_an_update_never_take_less(work: Workload, more: int) -> None:
    larger = with_training(work, records_per_step=work.training.records_per_step + more)
    # fewer updates leave fewer gaps in the heap, and one alone has no moments beside its activations
    if larger.steps == work.steps:
        assert grows(work, larger)


@quick
@given(works(), st.integers(1, 5000))
def test_more_records_of_the_same_length_never_take_less(work: Workload, more: int) -> None:
    text = work.sets["forget"]
    grown = SetSize(text.records + more, round((text.records + more) * text.mean))
    assert grows(work, replace(work, sets=dict.fromkeys(work.sets, grown)))


@quick
@given(works(), st.integers(1, 4000))
def test_longer_records_never_take_less(work: Workload, more: int) -> None:
    text = work.sets["forget"]
    grown = SetSize(text.records, text.tokens + more * text.records)
    assert grows(work, replace(work, sets=dict.fromkeys(work.sets, grown)))


@quick
@given(works(), st.integers(1, 100_000), st.integers(0, 20))
def test_a_larger_vocabulary_or_more_layers_never_take_less(work: Workload, words: int, layers: int) -> None:
    shape = work.shape
    grown = llama(
        hidden=shape.hidden_size,
        layers=shape.layers + layers,
        heads=shape.heads,
        vocabulary=shape.vocabulary + words,
        wide=shape.intermediate or 0,
    )
    assert grows(work, replace(work, shape=grown))


@quick
@given(works(), st.sampled_from([1, 8, 16]))
def test_an_adapter_never_takes_more_than_all_weights(work: Workload, rank: int) -> None:
    # a method that chooses its weights itself takes no adapter
    if work.training.master_weights == "float32" and work.method.trained_weights(work.shape.layers) is None:
        adapted = with_training(work, lora=Lora(rank=rank))
        # what the adapter's own layers keep of each token, with the heap's gaps between, and its weights with their
        # gradients and moments, of which each device holds all: more than what it saves on the smallest models
        kept = 28 * rank * work.shape.layers * work.training_batch_tokens
        assert grows(adapted, work, but=8 * kept + 16 * trained_parameters(adapted))


@quick
@given(works())
def test_recomputing_activations_never_takes_more(work: Workload) -> None:
    if work.shape.layers > 1:
        assert grows(with_training(work, checkpointing=True), with_training(work, checkpointing=False))


@quick
@given(works())
def test_what_is_suggested_fits_once_it_is_done(work: Workload) -> None:
    for worker in (
        WorkerClass(name="host", memory_bytes=16 << 30),
        WorkerClass(name="gpu", gpus=8, memory_bytes=24 << 30, host_bytes=256 << 30),
    ):
        short = capacity.find_shortage(work, [worker])
        for changes in capacity.fitting_changes(work, [worker]) if short else ():
            changed = capacity.apply_changes(work, changes)
            assert changed != work
            assert capacity.find_shortage(changed, [worker]) is None
