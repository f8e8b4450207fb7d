"""lm-evaluation-harness on a loaded model: a task of the operator, with its data on disk."""

import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from core.demo.people import people
from core.evaluation.eval_context import EvalContext
from core.evaluation.lm_eval_tasks import Results, require, tasks_version
from core.evaluation.measurements import resolve_measurements
from core.evaluation.measurements.benchmarks import Benchmarks
from core.lm.errors import CoreError
from core.schema.evaluation import MeasurementChoice
from core.schema.record import Record
from tests.tiny_model import REPOSITORY, TinyModel
from tests.unit.evaluation.test_runner import TRAINING, Loaded

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: the extra [lm-eval] brings it")

TASK = """
task: endings
dataset_path: json
dataset_kwargs:
  data_files: endings.jsonl
test_split: train
output_type: multiple_choice
doc_to_text: "{{beginning}}"
target_delimiter: ""
doc_to_choice: "{{endings}}"
doc_to_target: "{{right}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
"""
ENDED = """
task: ended
dataset_path: json
dataset_kwargs:
  data_files: endings.jsonl
test_split: train
output_type: generate_until
doc_to_text: "{{beginning}}"
doc_to_target: "{{endings[right]}}"
process_results: !function scoring.starts_right
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 4
metric_list:
  - metric: starts_right
    aggregation: mean
    higher_is_better: true
"""
SCORING = """
def starts_right(doc, results):
    return {"starts_right": float(doc["endings"][doc["right"]].startswith(results[0]))}
"""
BOTH = "group: both\ntask: [endings, ended]\naggregate_metric_list:\n  - metric: acc\n    weight_by_size: true\n"


def questions(records: list[Record]) -> list[dict[str, object]]:
    """Each record's beginning, with its own end and those of the two records after it to choose from."""
    texts = [record.text or "" for record in records]
    halves = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]
    made = []
    for number, (beginning, _) in enumerate(halves):
        ends = [halves[(number + step) % len(halves)][1] for step in range(3)]
        right = number % 3
        made.append(
            {"beginning": beginning, "endings": ends[-right:] + ends[:-right] if right else ends, "right": right}
        )
    return made


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offline as in a job's process; every connection is an error."""
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")

    def refuse(*_: object) -> None:
        raise AssertionError("a connection to somewhere")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def tasks(tmp_path: Path, tiny_model: TinyModel) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    asked = questions([*tiny_model.sets["forget"][:4], *tiny_model.sets["unseen"][:4]])
    (folder / "endings.jsonl").write_text("".join(json.dumps(record) + "\n" for record in asked))
    (folder / "endings.yaml").write_text(TASK)
    (folder / "ended.yaml").write_text(ENDED)
    (folder / "scoring.py").write_text(SCORING)
    (folder / "both.yaml").write_text(BOTH)
    (folder / "running.yaml").write_text(TASK.replace("endings\n", "running\nunsafe_code: true\n", 1))
    (folder / "absent.yaml").write_text(
        TASK.replace("task: endings", "task: absent").replace("endings.jsonl", "no.jsonl")
    )
    return folder


def context_of(loaded: Loaded, tasks: Path | None, *, code: bool = False) -> EvalContext:
    sets = {"forget": people(1, 0)}
    return EvalContext(lambda: loaded, sets, training=TRAINING, benchmark_tasks=tasks, benchmark_code=code)  # type: ignore[arg-type]


def naive(loaded: Loaded, file: Path) -> tuple[list[float], list[float]]:
    """(acc, acc_norm) of each question: is the right ending the most probable, as it is and per byte."""
    model, tokenizer = loaded
    plain, normed = [], []
    for line in file.read_text().splitlines():
        asked = json.loads(line)
        scores = []
        for ending in asked["endings"]:
            ids_of_both = tokenizer(asked["beginning"] + ending)["input_ids"]
            first = len(tokenizer(asked["beginning"])["input_ids"])
            ids = torch.tensor([ids_of_both])
            with torch.no_grad():
                log_p = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
            scores.append(sum(log_p[place - 1, ids_of_both[place]].item() for place in range(first, len(ids_of_both))))
        lengths = [len(ending) for ending in asked["endings"]]
        best = max(range(3), key=lambda index: scores[index])
        best_normed = max(range(3), key=lambda index: scores[index] / lengths[index])
        plain.append(float(best == asked["right"]))
        normed.append(float(best_normed == asked["right"]))
    return plain, normed


def interval(values: list[float]) -> tuple[float, float, float]:
    mean = sum(values) / len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return mean, mean - 1.959964 * error, mean + 1.959964 * error


def test_a_task_from_disk_is_scored_by_the_models_log_probabilities(
    loaded: Loaded, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = Benchmarks(tasks=["endings"]).measure(context_of(loaded, tasks))
    plain, normed = naive(loaded, tasks / "endings.jsonl")
    assert set(result.benchmarks) == {"endings"}
    for metric, expected in (("acc", plain), ("acc_norm", normed)):
        figure = result.benchmarks["endings"][metric]
        assert (figure.value, figure.low, figure.high) == pytest.approx(interval(expected), abs=1e-6)
        assert figure.records == 8
    assert 0 < sum(plain) < 8  # or the model would not be looked at
    assert result.warnings == result.cut_short == []
    assert capfd.readouterr() == ("", "")  # standard output is for events


def test_a_group_of_tasks_may_use_code_from_its_folder(loaded: Loaded, tasks: Path) -> None:
    result = Benchmarks(tasks=["both", "both"], records=6).measure(context_of(loaded, tasks))
    assert set(result.benchmarks) == {"both", "endings", "ended"}
    assert result.benchmarks["ended"]["starts_right"].records == 6
    assert result.benchmarks["both"]["acc"].value == result.benchmarks["endings"]["acc"].value
    assert [(cut.what, cut.done, cut.of, cut.reason) for cut in result.cut_short] == [
        ("endings", 6, 8, "records"),
        ("ended", 6, 8, "records"),
    ]


def test_a_task_leaves_the_model_unchanged_and_gives_the_same_figures_again(loaded: Loaded, tasks: Path) -> None:
    before = {name: weight.clone() for name, weight in loaded[0].state_dict().items()}
    padding = loaded[1].pad_token
    first, second = (Benchmarks(tasks=["endings"], num_fewshot=1).measure(context_of(loaded, tasks)) for _ in range(2))
    assert first == second
    assert all(torch.equal(weight, before[name]) for name, weight in loaded[0].state_dict().items())
    assert loaded[1].pad_token == padding


@pytest.mark.parametrize(
    ("task", "code", "says"),
    [
        ("running", "unsafe_task", "runs code that the model writes"),
        ("absent", "benchmarks_unavailable", "its data must be on this worker's disk"),
    ],
)
def test_a_task_that_cannot_run_gives_its_reason_and_no_path(
    loaded: Loaded, tasks: Path, task: str, code: str, says: str
) -> None:
    with pytest.raises(CoreError, match=says) as caught:
        Benchmarks(tasks=[task]).measure(context_of(loaded, tasks))
    assert caught.value.code == code
    assert str(tasks) not in caught.value.message


def test_an_operator_may_allow_tasks_that_run_code(loaded: Loaded, tasks: Path) -> None:
    result = Benchmarks(tasks=["running"], records=2).measure(context_of(loaded, tasks, code=True))
    assert result.benchmarks["running"]["acc"].records == 2


def test_a_task_is_a_name_and_never_a_file(
    loaded: Loaded, tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lm_eval.tasks.manager

    # reading the harness's own 14,000 definitions takes seconds
    monkeypatch.setattr(lm_eval.tasks.manager, "__file__", str(tmp_path / "few" / "manager.py"))
    for name in (str(tasks / "endings.yaml"), "nonsense"):
        with pytest.raises(CoreError) as caught:
            Benchmarks(tasks=[name]).measure(context_of(loaded, tasks))
        assert caught.value.code == "unknown_task"


def test_an_error_names_the_extra_to_install_if_the_harness_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CoreError, match=r"\[lm-eval\]"):
        require()


def test_a_task_that_takes_too_long_is_left_out(loaded: Loaded, tasks: Path) -> None:
    result = Benchmarks(tasks=["endings"], seconds=1e-9).measure(context_of(loaded, tasks))
    assert result.benchmarks == {}
    assert [(cut.what, cut.reason) for cut in result.cut_short] == [("endings", "seconds")]


def test_a_task_ends_when_the_job_is_to_stop(loaded: Loaded, tasks: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    context = EvalContext(
        lambda: loaded, {"forget": people(1, 0)}, training=TRAINING, benchmark_tasks=tasks, check_stop=stop
    )
    with pytest.raises(InterruptedError):
        Benchmarks(tasks=["endings"]).measure(context)


def test_a_metric_that_is_not_finite_is_left_out_and_listed() -> None:
    values = {"alias": "t", "sample_len": 3, "acc,none": float("nan"), "acc_stderr,none": "N/A", "f1,strict": 0.5}
    figures, broken = Results({"results": {"t": values}, "n-samples": {}}).figures()
    assert broken == ["t acc"]
    assert figures["t"]["f1,strict"].low is None
    assert set(figures["t"]) == {"f1,strict"}


def test_the_version_of_the_tasks_changes_with_their_files(tasks: Path) -> None:
    before = tasks_version(tasks)
    assert tasks_version(tasks) == before
    os.utime(tasks / "endings.jsonl", (1, 1))
    assert tasks_version(tasks) != before
    (tasks / "z-one").mkdir()
    (tasks / "z-one" / "more.jsonl").write_text("{}")
    moved = tasks_version(tasks)
    (tasks / "z-one").rename(tasks / "z-two")  # in the same place of the order
    assert tasks_version(tasks) != moved
    assert tasks_version(None) != before


def test_benchmarks_run_only_by_name_and_with_tasks() -> None:
    assert "benchmarks" not in {measurement.name for measurement in resolve_measurements(["thorough"])}
    (measurement,) = resolve_measurements(
        [MeasurementChoice.model_validate({"name": "benchmarks", "tasks": ["endings"]})]
    )
    assert isinstance(measurement, Benchmarks)
    with pytest.raises(ValidationError):
        resolve_measurements(["benchmarks"])


def test_a_jobs_process_is_offline_and_sends_no_telemetry() -> None:
    script = (
        "import core.pipeline.__main__, os\n"
        "import huggingface_hub.constants as hub\n"
        "print(hub.HF_HUB_OFFLINE, hub.HF_HUB_DISABLE_TELEMETRY)\n"
        "print(*(os.environ[name] for name in ('HF_DATASETS_OFFLINE', 'HF_EVALUATE_OFFLINE')))\n"
        "print(os.environ['HF_UPDATE_DOWNLOAD_COUNTS'])\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=kept, capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == ["True", "True", "1", "1", "0"]
