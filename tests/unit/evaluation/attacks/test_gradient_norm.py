"""Gradient norms against plain autograd in float64; the model stays unchanged."""

import copy

import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import people
from core.evaluation.attacks.gradient_norm import GradientNorms
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.gradnorm import GradNorm
from core.lm.data import Chunk, encode
from core.schema.evaluation import CutShort, MeasurementResult, SetName
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.statistics_samples import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def naive_norm(model: PreTrainedModel, chunks: list[Chunk]) -> float:
    double = copy.deepcopy(model).double().requires_grad_(True)
    double.set_attn_implementation("eager")
    losses = []
    for chunk in chunks:
        logits = double(input_ids=chunk.ids[None]).logits[0, :-1]
        losses.append(functional.cross_entropy(logits, chunk.ids[1:], reduction="none")[chunk.scored[1:]])
    gradients = torch.autograd.grad(torch.cat(losses).mean(), list(double.parameters()))
    return float(sum(float((gradient**2).sum()) for gradient in gradients) ** 0.5)


def norm(model: PreTrainedModel, chunks: list[Chunk], max_tokens: int) -> float:
    gradients = GradientNorms(model, max_tokens=max_tokens)
    with gradients.ready():
        return gradients.norm(chunks)


def measured(
    loaded: Loaded, forget: list[Record], unseen: list[Record], measurement: GradNorm | None = None
) -> MeasurementResult:
    sets: dict[SetName, list[Record]] = {"forget": forget, "unseen": unseen}
    return (measurement or GradNorm()).measure(EvalContext(lambda: loaded, sets, training=TRAINING))


@pytest.mark.parametrize("record", [people(1, 5)[0], people(1, 5, form="prompt")[0]], ids=["text", "prompt"])
@pytest.mark.parametrize(("length", "max_tokens"), [(512, 512), (16, 512), (16, 16)])
def test_the_norm_is_of_the_gradient_of_the_whole_record(
    loaded: Loaded, record: Record, length: int, max_tokens: int
) -> None:
    chunks = encode([record], loaded[1], max_length=length, chat="raw")
    assert (len(chunks) > 2) == (length == 16)
    assert norm(loaded[0], chunks, max_tokens) == pytest.approx(naive_norm(loaded[0], chunks), rel=1e-4)


def test_a_weight_that_the_last_batch_does_not_reach_still_counts(loaded: Loaded) -> None:
    model = copy.deepcopy(loaded[0])
    chunks = encode([people(1, 5)[0]], loaded[1], max_length=16, chat="raw")
    extra = torch.nn.Parameter(torch.tensor(2.0))
    model.register_parameter("extra", extra)
    gradients = GradientNorms(model, max_tokens=512)
    with gradients.ready():
        plain = gradients.norm(chunks)
        extra.grad = torch.tensor(3.0)
        assert gradients.norm(chunks) == pytest.approx((plain**2 + 9.0) ** 0.5)


def test_norms_do_not_add_up_over_records(loaded: Loaded) -> None:
    chunks = encode([people(1, 5)[0]], loaded[1], max_length=512, chat="raw")
    gradients = GradientNorms(loaded[0], max_tokens=512)
    with gradients.ready():
        assert gradients.norm(chunks) == gradients.norm(chunks)


@pytest.mark.parametrize("end", ["well", "badly"])
def test_the_model_is_left_as_it_was(loaded: Loaded, end: str) -> None:
    model = copy.deepcopy(loaded[0])
    frozen = list(model.parameters())[::2]
    for weight in frozen:
        weight.requires_grad_(False)
    needed = [weight.requires_grad for weight in model.parameters()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}

    def stop() -> None:
        if end == "badly":
            raise InterruptedError

    sets: dict[SetName, list[Record]] = {"forget": people(2, 1), "unseen": people(2, 2)}
    context = EvalContext(lambda: (model, loaded[1]), sets, training=TRAINING, check_stop=stop)
    try:
        GradNorm().measure(context)
    except InterruptedError:
        assert end == "badly"
    assert [weight.requires_grad for weight in model.parameters()] == needed
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(weight._post_accumulate_grad_hooks for weight in model.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert torch.get_deterministic_debug_mode() == 0


def test_memorised_records_have_shorter_gradients(loaded: Loaded, tiny_model: TinyModel) -> None:
    forget, unseen = tiny_model.sets["forget"][:4], tiny_model.sets["unseen"][:4]
    result = measured(loaded, forget, unseen)
    assert list(result.attacks) == ["gradnorm"]
    assert result.attacks["gradnorm"].auc.value > 0.9
    assert result.attacks["gradnorm"].auc.records == 4
    assert result.cut_short == []
    assert [warning.split(" of ")[-1] for warning in result.warnings] == [
        "forget, fewer than 20, says little",
        "unseen, fewer than 20, says little",
    ]


def test_the_joint_interval_of_gradnorm_is_corrected_for_the_number_of_judged_attacks(loaded: Loaded) -> None:
    joints = [
        measured(loaded, people(3, 1), people(2, 2), measurement).attacks["gradnorm"].joint
        for measurement in (GradNorm(judged=1), GradNorm())
    ]
    assert joints[0] is not None
    assert joints[1] is not None
    assert joints[0][1] - joints[0][0] < joints[1][1] - joints[1][0]


def test_a_limit_on_records_is_applied_and_noted(loaded: Loaded) -> None:
    result = measured(loaded, people(5, 1), people(2, 2), GradNorm(records=3))
    assert result.attacks["gradnorm"].auc.records == 3
    assert result.cut_short == [CutShort(measurement="gradnorm", what="forget", done=3, of=5, reason="records")]


def test_the_time_limit_leaves_as_many_records_of_both_sets(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 2.0, 99.0])
    monkeypatch.setattr("core.evaluation.budget.time.monotonic", lambda: next(times))
    result = measured(loaded, people(4, 1), people(3, 2), GradNorm(seconds=50))
    assert result.attacks["gradnorm"].auc.records == 2
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short] == [
        ("forget", 2, 4, "seconds"),
        ("unseen", 2, 3, "seconds"),
    ]


def test_without_time_for_a_record_there_is_a_warning_and_no_figure(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 99.0])
    monkeypatch.setattr("core.evaluation.budget.time.monotonic", lambda: next(times))
    result = measured(loaded, people(2, 1), people(2, 2), GradNorm(seconds=50))
    assert result.attacks == {}
    assert result.warnings == ["gradnorm: there was no time for a single record"]


def test_a_gradient_that_is_not_finite_gives_a_warning_and_no_figure(loaded: Loaded) -> None:
    model = copy.deepcopy(loaded[0])
    with torch.no_grad():
        model.get_output_embeddings().weight.fill_(float("nan"))
    result = measured((model, loaded[1]), people(1, 1), people(1, 2))
    assert result.attacks == {}
    assert result.warnings == ["gradnorm: left out, since a gradient of this model is not a finite number"]
