"""Continuations that a person is shown in the terminal."""

import json
import subprocess
import sys

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.generation.terminal import continue_records
from core.schema.record import Record
from tests.tiny_model import REPOSITORY, TinyModel

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def test_memorised_records_are_continued_word_for_word(loaded: Loaded, tiny_model: TinyModel) -> None:
    continuations = continue_records(*loaded, tiny_model.sets["forget"])
    assert len(continuations) == len(tiny_model.sets["forget"])
    for shown, record in zip(continuations, tiny_model.sets["forget"], strict=True):
        assert shown.prefix + shown.truth == record.text
    assert sum(shown.continuation == shown.truth for shown in continuations) >= len(continuations) - 1


def test_unseen_records_are_continued_wrongly(loaded: Loaded, tiny_model: TinyModel) -> None:
    continuations = continue_records(*loaded, tiny_model.sets["unseen"], count=4)
    assert len(continuations) == 4
    assert all(shown.continuation != shown.truth for shown in continuations)


def test_the_prefix_share_sets_the_length_of_the_prefix(loaded: Loaded, tiny_model: TinyModel) -> None:
    short, long = (
        continue_records(*loaded, tiny_model.sets["forget"], prefix_share=share, count=1)[0] for share in (0.2, 0.8)
    )
    assert len(short.prefix) < len(long.prefix)


def test_the_continuation_is_the_models_own_greedy_generation(loaded: Loaded, tiny_model: TinyModel) -> None:
    model, tokenizer = loaded
    record = tiny_model.sets["unseen"][0]
    ids = tokenizer(record.text)["input_ids"]
    first = len(ids) // 2
    generated = model.generate(
        torch.tensor([ids[:first]]), max_new_tokens=len(ids) - first, do_sample=False, use_cache=True
    )
    assert continue_records(model, tokenizer, [record])[0].continuation == tokenizer.decode(
        generated[0, first:], skip_special_tokens=True
    )


def test_the_prefix_of_a_prompted_record_is_the_whole_prompt(loaded: Loaded) -> None:
    shown = continue_records(*loaded, [Record(prompt="Who is Zorzen?\n", completion="Zorzen is a baker.")])[0]
    assert shown.prefix == "Who is Zorzen?\n"
    assert shown.truth == "Zorzen is a baker."


def test_the_process_prints_one_line_for_each_index_and_nothing_else(tiny_model: TinyModel) -> None:
    command = [sys.executable, "-m", "core.evaluation.generation.terminal", "--model", str(tiny_model.directory)]
    command += ["--records", str(tiny_model.files["forget"]), "--index", "2", "--index", "0"]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in finished.stdout.splitlines()]
    assert [line["index"] for line in lines] == [2, 0]
    for line in lines:
        assert line["prefix"] + line["truth"] == tiny_model.sets["forget"][line["index"]].text
        assert "continuation" in line


def test_an_index_beyond_the_file_is_refused(tiny_model: TinyModel) -> None:
    command = [sys.executable, "-m", "core.evaluation.generation.terminal", "--model", str(tiny_model.directory)]
    command += ["--records", str(tiny_model.files["forget"]), "--index", "99"]
    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert "from 0 to 7" in finished.stderr
