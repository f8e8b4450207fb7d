"""Whole jobs in a real child process: their events, checkpoints and figures."""

import json
import math
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.demo.people import general_sentences, write_jsonl
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements import resolve_measurements
from core.evaluation.policy import preview
from core.evaluation.policy.verdict import judge
from core.evaluation.runner import measure_model
from core.lm.flops import ModelFlops
from core.lm.model import load, model_digest
from core.lm.split import split
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.events import (
    CostReported,
    CurvePoint,
    Done,
    Judged,
    Measured,
    PhaseStarted,
    ProgressMade,
    Saved,
    Trained,
    Tuned,
    Warned,
)
from core.schema.job_spec import ChildMethod, FileRecords, MeasureSpec, PreviewSpec, UnlearnSpec
from core.schema.record import Record
from tests.integration.pipeline.child import Outcome, run
from tests.tiny_model import TinyModel

PHASES = ["loading", "measuring_before", "unlearning", "saving", "measuring_after", "attacking"]


def measurements(outcome: Outcome) -> list[Measured]:
    return [event for event in outcome.events if isinstance(event, Measured)]


def perplexity(measured: Measured, name: str) -> float:
    return measured.measurements.sets[name]["perplexity"].value


def measuring_half(tiny_model: TinyModel, name: str) -> list[Record]:
    records = tiny_model.sets[name]
    return records if name == "forget" else [records[index] for index in split(records, purpose=name)[1]]


def test_a_calibrated_job_forgets_retains_and_measures_the_saved_model(
    spec: UnlearnSpec, tiny_model: TinyModel
) -> None:
    # without rehearsal: a model of two dozen records mostly writes the text to forget
    method = ChildMethod(name="calibrated", parameters={"rehearsal_weight": 0})
    training = spec.training.model_copy(update={"epochs": 24})
    changes = {"method": method, "training": training, "policy": DEFAULT_POLICY, "measure": ["standard"]}
    changes["training_tokens"] = 10**6
    spec = spec.model_copy(update=changes)
    outcome = run(spec)
    assert outcome.code == 0, outcome.stderr
    assert [event.phase for event in outcome.events if isinstance(event, PhaseStarted)] == PHASES
    assert outcome.events[0] == PhaseStarted(phase="loading")
    assert outcome.events[-1] == Done(outcome="unlearned")

    steps = [event for event in outcome.events if isinstance(event, ProgressMade)]
    assert [event.step for event in steps] == list(range(1, 49))  # 8 records, 4 a step, 24 epochs
    assert {event.steps for event in steps} == {48}
    saved = outcome.of_kind("saved")
    assert saved == [Saved(directory=spec.output, step=48)]

    before, after = measurements(outcome)
    assert (before.moment, after.moment) == ("before", "after")
    assert perplexity(before, "forget") < 1.4
    rise = {name: perplexity(after, name) / perplexity(before, name) for name in ("forget", "retain")}
    assert rise["forget"] > 3  # eight retain records protect little: the demo shows how well the rest is retained
    assert rise["retain"] < rise["forget"] / 2
    assert before.measurements.model_digest == model_digest(tiny_model.directory)
    assert after.measurements.model_digest == model_digest(spec.output)

    retained = after.measurements.sets["retain"]["perplexity_ratio"]
    assert retained.value == pytest.approx(rise["retain"])
    assert retained.low is not None
    assert retained.low < retained.value

    (judged,) = (event for event in outcome.events if isinstance(event, Judged))
    expected = judge(DEFAULT_POLICY, before=before.measurements, after=after.measurements)
    assert judged.judgement == expected
    (retain,) = (bound for bound in expected.bounds if bound.bound.name == "retain")
    assert (retain.value, retain.result) == (retained.value, "failed")

    # the reported figures are those of the saved files, to the last digit
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sets = {name: measuring_half(tiny_model, name) for name in ("forget", "retain", "unseen")}
    context = EvalContext(lambda: load(spec.output, "auto", device=torch.device("cpu")), sets, training=spec.training)
    again = measure_model(context, resolve_measurements(["likelihood", "membership"]), model_digest="0" * 64)
    torch.set_num_threads(threads)
    for name, figures in again.sets.items():
        assert {key: after.measurements.sets[name][key] for key in figures} == figures
    assert {name: after.measurements.attacks[name] for name in again.attacks} == again.attacks

    # a job keeps one warning of each code: all small samples are in one warning
    (small,) = [event for event in outcome.events if isinstance(event, Warned) and event.code == "small_sample"]
    assert len(before.measurements.warnings) >= 2  # forget and unseen
    assert all(warning in small.message for warning in before.measurements.warnings)

    (cost,) = (event for event in outcome.events if isinstance(event, CostReported))
    assert list(cost.seconds) == PHASES
    assert all(seconds > 0 for seconds in cost.seconds.values())
    assert cost.tokens > 16 * 4 * 30
    assert cost.peak_host_bytes > 1 << 26
    assert cost.changed_share is not None
    assert 0 < cost.changed_share <= 1

    measuring, updates = ("measuring_before", "measuring_after", "attacking"), cost.tokens
    assert cost.passed["unlearning"] > updates  # which includes the reference model's forward passes
    model = ModelFlops.of(AutoModelForCausalLM.from_pretrained(tiny_model.directory))
    weights = model.weights + model.head
    assert 6 * weights * updates < cost.flops["unlearning"] < 1.5 * 6 * weights * cost.passed["unlearning"]
    per_token = cost.flops["measuring_before"] / cost.passed["measuring_before"]
    assert 2 * weights < per_token < 1.5 * 2 * weights  # no backward passes
    for name, phases in {"unlearning": ("unlearning",), "measuring": measuring}.items():
        passed = sum(cost.passed.get(phase, 0) for phase in phases)
        speed = passed / sum(cost.seconds[phase] for phase in phases)
        assert cost.tokens_per_second[name] == pytest.approx(speed, rel=0.01)
    assert cost.retraining_flops == 6 * weights * 10**6
    assert cost.retraining_share == pytest.approx(sum(cost.flops.values()) / cost.retraining_flops)


def test_gradient_ascent_needs_no_other_set_and_its_checkpoint_loads_like_any_model(
    spec: UnlearnSpec, tiny_model: TinyModel
) -> None:
    spec = spec.model_copy(
        update={
            "method": ChildMethod(name="gradient_ascent", parameters={}),
            "records": FileRecords(forget=tiny_model.files["forget"]),
            "measure": ["likelihood", "membership"],
        }
    )
    outcome = run(spec)
    assert outcome.code == 0, outcome.stderr
    before, after = measurements(outcome)
    assert perplexity(after, "forget") > 2 * perplexity(before, "forget")
    assert after.measurements.attacks == {}
    assert any("membership" in warning for warning in after.measurements.warnings)
    assert [event.code for event in outcome.events if isinstance(event, Warned)].count("small_sample") >= 1

    model = AutoModelForCausalLM.from_pretrained(spec.output)
    tokenizer = AutoTokenizer.from_pretrained(spec.output)
    losses = []
    for record in tiny_model.sets["forget"]:
        ids = tokenizer(record.text, return_tensors="pt")["input_ids"]
        losses.append(model(ids, labels=ids).loss.item())
    assert math.exp(sum(losses) / len(losses)) == pytest.approx(perplexity(after, "forget"), rel=1e-4)
    card = (spec.output / "UNLEARNING.md").read_text()
    assert "gradient_ascent" in card
    assert str(tiny_model.sets["forget"][0].subject) not in card


def test_a_measuring_job_measures_once_and_leaves_no_checkpoint(spec: UnlearnSpec, tiny_model: TinyModel) -> None:
    outcome = run(MeasureSpec.from_spec(spec))
    assert outcome.code == 0, outcome.stderr
    (measured,) = measurements(outcome)
    assert measured.moment == "after"
    assert perplexity(measured, "forget") < 1.4
    assert measured.measurements.sets["unseen"]["perplexity"].records == len(measuring_half(tiny_model, "unseen"))
    assert outcome.events[-1] == Done(outcome=None)
    assert not spec.output.exists()


def test_a_model_compared_with_itself_has_not_changed(spec: UnlearnSpec, tiny_model: TinyModel) -> None:
    changed = {"original": spec.directory, "policy": DEFAULT_POLICY}
    outcome = run(MeasureSpec.from_spec(spec, **changed, measure=["likelihood", "change"]))
    assert outcome.code == 0, outcome.stderr
    before, after = measurements(outcome)
    assert (before.moment, after.moment) == ("before", "after")
    ratio = after.measurements.sets["retain"].pop("perplexity_ratio")
    assert (ratio.value, ratio.low, ratio.high) == (1.0, 1.0, 1.0)
    assert perplexity(after, "forget") == perplexity(before, "forget")
    (judged,) = (event for event in outcome.events if isinstance(event, Judged))
    results = {bound.bound.name: bound.result for bound in judged.judgement.bounds}
    assert results["retain"] == "passed"
    assert results["extraction"] == "underpowered"  # eight forget and eight unseen records
    assert results["extraction-highest"] == "failed"  # the record that is given back most needs no interval
    assert judged.judgement.verdict == judged.judgement.parts["extraction"].result == "failed"
    assert outcome.kinds()[-4:] == ["judged", "warning", "cost", "done"]
    (warning,) = (event for event in outcome.events if isinstance(event, Warned) and event.code == "not_all_judged")
    assert warning.message == "; ".join(judged.judgement.warnings)
    assert "general ability was not measured" in warning.message


def test_the_original_model_is_not_accepted_as_a_retrained_model(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    known = tmp_path / "known.jsonl"  # memorised records, enough for a test
    write_jsonl([*tiny_model.sets["forget"], *tiny_model.sets["retain"]], known)
    models = {"original": spec.directory, "retrained": spec.directory}
    records = FileRecords(forget=known, unseen=tiny_model.files["unseen"])
    changed = {"records": records, "policy": DEFAULT_POLICY, "measure": ["likelihood", "membership"]}
    outcome = run(MeasureSpec.from_spec(spec, **models, **changed))
    assert outcome.code == 0, outcome.stderr
    warning = next(event for event in outcome.events if isinstance(event, Warned))
    assert warning.code == "reference_knows_the_text"
    assert "perplexity" in warning.message
    (judged,) = (event for event in outcome.events if isinstance(event, Judged))
    assert (judged.judgement.verdict, judged.judgement.reason) == ("not_judged", "reference_knows_the_text")


def test_both_kinds_of_retain_text_train_and_are_measured_separately(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    write_jsonl(general_sentences(8, 0), tmp_path / "general.jsonl")
    records = FileRecords(
        forget=tiny_model.files["forget"], retain=[tiny_model.files["retain"]], general=[tmp_path / "general.jsonl"]
    )
    method = ChildMethod(name="ascent_descent", parameters={})
    outcome = run(spec.model_copy(update={"records": records, "method": method}))
    assert outcome.code == 0, outcome.stderr
    _, after = measurements(outcome)
    assert after.measurements.sets["general"]["perplexity"].records == 4
    assert after.measurements.sets["retain"]["perplexity"].records == 8


def test_standard_output_has_only_events_and_neither_stream_has_text_of_records(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    canary = "Qwyxcanary Zubrimoth keeps the number 7719-KRALL"
    marked = [record.model_copy(update={"text": f"{record.text} {canary}"}) for record in tiny_model.sets["forget"]]
    write_jsonl(marked, tmp_path / "forget.jsonl")
    records = FileRecords(
        forget=tmp_path / "forget.jsonl", retain=[tiny_model.files["retain"]], unseen=tiny_model.files["unseen"]
    )
    training = spec.training.model_copy(update={"epochs": 1})
    changes = {"records": records, "training": training, "measure": ["standard"]}
    outcome = run(spec.model_copy(update=changes))
    assert outcome.code == 0, outcome.stderr
    assert all(json.loads(line)["kind"] for line in outcome.stdout.splitlines())
    for secret in ["Qwyxcanary", "Zubrimoth", "KRALL", *(str(record.subject) for record in tiny_model.sets["forget"])]:
        assert not re.search(re.escape(secret), outcome.stdout + outcome.stderr)


def test_a_second_job_on_the_same_model_uses_the_first_jobs_measurements(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = tmp_path / "measured"
    few = tmp_path / "few.jsonl"
    write_jsonl(tiny_model.sets["forget"][:4], few)
    quick = spec.training.model_copy(update={"epochs": 1})
    first = spec.model_copy(update={"cache": folder, "training": quick, "measure": ["likelihood", "membership"]})
    first_figures = measurements(run(first))
    cached = {file: file.stat().st_ino for file in folder.glob("*.npz")}
    per_model = len(cached) // 2  # before and after
    assert per_model >= 2  # retain and unseen
    records = FileRecords(forget=few, retain=[tiny_model.files["retain"]], unseen=tiny_model.files["unseen"])
    second_figures = measurements(run(first.model_copy(update={"records": records, "output": tmp_path / "second"})))
    # for the model before nothing was written again; for the second checkpoint everything was
    assert {file: file.stat().st_ino for file in cached} == cached
    assert len(list(folder.glob("*.npz"))) == 3 * per_model
    for name in ("retain", "unseen"):
        assert second_figures[0].measurements.sets[name] == first_figures[0].measurements.sets[name]
    assert second_figures[0].measurements.sets["forget"] != first_figures[0].measurements.sets["forget"]


def test_a_preview_also_measures_a_retrained_model(spec: UnlearnSpec) -> None:
    outcome = run(PreviewSpec.from_spec(spec, measure=["likelihood"], retrained=spec.directory))
    assert outcome.code == 0, outcome.stderr
    assert [event.moment for event in measurements(outcome)] == ["retrained", "before"]


def test_a_preview_measures_the_model_and_saves_nothing(spec: UnlearnSpec) -> None:
    outcome = run(PreviewSpec.from_spec(spec, measure=preview.measurement_names()))
    assert outcome.code == 0, outcome.stderr
    assert [event.phase for event in outcome.events if isinstance(event, PhaseStarted)] == PHASES[:2]
    assert [event.moment for event in measurements(outcome)] == ["before"]
    assert outcome.events[-1] == Done(outcome="preview")
    (message,) = [event.message for event in outcome.events if isinstance(event, Warned) and event.code == "preview"]
    assert message.startswith("extraction strength 0.9")  # the records are memorised
    assert not spec.output.exists()


def test_text_that_the_model_does_not_know_ends_the_job_and_changes_nothing(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    unknown = tmp_path / "unknown.jsonl"
    write_jsonl([Record(text="Qzvx wkjq 0x7f pfft zzyzx; kkqv 9981 vxqz, wjkq!")], unknown)
    records = FileRecords(forget=unknown, retain=[tiny_model.files["retain"]], unseen=tiny_model.files["unseen"])
    training = spec.training.model_copy(update={"tune": "auto"})
    changes = {"records": records, "training": training, "policy": DEFAULT_POLICY, "measure": ["likelihood"]}
    outcome = run(spec.model_copy(update=changes))
    assert outcome.code == 0, outcome.stderr
    assert outcome.events[-1] == Done(outcome="nothing_to_forget")
    assert not {"saved", "progress", "tuned"} & set(outcome.kinds())
    assert [event.moment for event in measurements(outcome)] == ["before"]
    messages = [event.message for event in outcome.events if isinstance(event, Warned)]
    assert any(message.startswith("nothing was changed: ") for message in messages)
    (judged,) = [event.judgement for event in outcome.events if isinstance(event, Judged)]
    assert "failed" not in [bound.result for bound in judged.bounds]
    assert not spec.output.exists()


def test_a_tuned_job_finds_its_rate_and_tells_why_it_ended(spec: UnlearnSpec) -> None:
    training = spec.training.model_copy(update={"tune": "auto"})
    outcome = run(spec.model_copy(update={"training": training}))
    assert outcome.code == 0, outcome.stderr
    assert outcome.events[-1] == Done(outcome="unlearned")
    (tuned,) = (event for event in outcome.events if isinstance(event, Tuned))
    (trained,) = (event for event in outcome.events if isinstance(event, Trained))
    assert outcome.kinds().index("tuned") < outcome.kinds().index("progress")
    assert 0 < trained.best_step <= trained.step <= trained.steps == 16
    rates = [event.values["learning_rate"] for event in outcome.events if isinstance(event, CurvePoint)]
    assert rates[0] == tuned.learning_rate
    (saved,) = (event for event in outcome.events if isinstance(event, Saved))
    assert saved.step == trained.step
