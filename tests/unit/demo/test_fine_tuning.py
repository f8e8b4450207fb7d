"""A pre-trained model learns its records: their answers alone, until it knows them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.demo.fine_tuning import fine_tune
from core.demo.people import people, write_jsonl
from core.lm.model import load
from tests.tiny_model import TinyModel

RATE = 3e-3


def silent(*_: object) -> None:
    pass


def test_the_answers_are_learned_until_they_are_known(tiny_model: TinyModel, tmp_path: Path) -> None:
    steps: list[int] = []
    ended = fine_tune(
        people(4, 3, form="messages"),
        tiny_model.directory,
        tmp_path / "model",
        epochs=60,
        known=0.5,
        learning_rate=RATE,
        report=lambda step, _, loss: steps.append(step),
    )
    assert ended.loss_before > 2
    assert ended.loss < 0.6
    assert ended.epochs < 60  # it ends when the answers are known
    assert steps == list(range(1, ended.epochs + 1))
    assert "4 synthetic records" in (tmp_path / "model" / "README.md").read_text()


def test_the_questions_are_not_learned(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A question has no loss of its own: it becomes more probable only by way of its answer."""
    records = people(1, 3, form="prompt")
    fine_tune(records, tiny_model.directory, tmp_path / "model", epochs=4, known=0, learning_rate=RATE, report=silent)
    tuned, tokenizer = load(tmp_path / "model", device=torch.device("cpu"))
    before, _ = load(tiny_model.directory, device=torch.device("cpu"))
    answer = tokenizer(records[0].completion, add_special_tokens=False, return_tensors="pt")["input_ids"]
    prompt = tokenizer(records[0].prompt, return_tensors="pt")["input_ids"]
    ids = torch.cat([prompt, answer], dim=1)
    first = prompt.shape[1]

    def losses(model: torch.nn.Module) -> torch.Tensor:
        with torch.no_grad():
            return torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none")

    change = losses(tuned) - losses(before)
    assert change[first - 1 :].mean() < -1
    assert change[: first - 1].mean() > change[first - 1 :].mean() / 2


def test_the_seed_decides_the_weights(tiny_model: TinyModel, tmp_path: Path) -> None:
    digests = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, seed in (("first", 0), ("same seed", 0), ("other seed", 1)):
        fine_tune(people(9, 3), tiny_model.directory, tmp_path / name, epochs=1, seed=seed, report=silent)
        digests.append(hashlib.sha256((tmp_path / name / "model.safetensors").read_bytes()).hexdigest())
    torch.set_num_threads(threads)
    assert digests[0] == digests[1] != digests[2]


def test_the_process_prints_every_step_and_its_end(tiny_model: TinyModel, tmp_path: Path) -> None:
    write_jsonl(people(6, 3), tmp_path / "records.jsonl")
    command = [sys.executable, "-m", "core.demo.fine_tuning", "--model", str(tiny_model.directory), "--threads", "1"]
    command += ["--records", str(tmp_path / "records.jsonl"), "--out", str(tmp_path / "model"), "--epochs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *steps, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(step["step"], step["steps"]) for step in steps] == [(number, 4) for number in range(1, 5)]
    assert last["done"] is True
    assert last["epochs"] == 2
    assert 0 < last["loss"] < last["loss_before"]


def test_training_without_records_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        fine_tune([], tiny_model.directory, tmp_path / "model", report=silent)
