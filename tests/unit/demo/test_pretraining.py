"""A model trained from scratch: complete, reproducible, and with its records by heart."""

import hashlib
from pathlib import Path
from typing import get_args

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.demo.people import people
from core.demo.pretraining import SIZES, Architecture, pretrain, train_tokenizer
from tests.tiny_model import TinyModel


def weights(directory: Path) -> str:
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def test_the_directory_loads_like_any_model_and_predicts_a_record_token_by_token(tiny_model: TinyModel) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model.directory)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model.directory)
    ids = tokenizer(tiny_model.sets["forget"][0].text, return_tensors="pt")["input_ids"]
    right = model(ids).logits[0, :-1].argmax(-1) == ids[0, 1:]
    assert ids[0, 0] == tokenizer.bos_token_id
    assert right.float().mean() > 0.8
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("</s>", "<pad>")


def test_the_process_prints_every_step_and_its_end(tiny_model: TinyModel) -> None:
    *steps, done = tiny_model.events
    assert [event["step"] for event in steps] == list(range(1, len(steps) + 1))
    assert {event["steps"] for event in steps} == {len(steps)}
    assert done["done"] is True
    assert 0 < float(str(done["loss"])) < float(str(steps[0]["loss"])) / 5


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, seed in (("first", 3), ("same seed", 3), ("other seed", 4)):
        pretrain(people(8, 0), tmp_path / name, size=SIZES["tiny"], seed=seed, epochs=2, report=lambda *_: None)
    torch.set_num_threads(threads)
    assert weights(tmp_path / "first") == weights(tmp_path / "same seed") != weights(tmp_path / "other seed")


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_a_model_of_each_architecture_is_the_size_that_was_asked_for(
    architecture: Architecture, tmp_path: Path
) -> None:
    pretrain(
        people(8, 0), tmp_path / "m", size=SIZES["tiny"], architecture=architecture, epochs=1, report=lambda *_: None
    )
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    size = SIZES["tiny"]
    assert model.config.model_type == architecture
    assert model.config.num_hidden_layers == size.layers
    assert model.get_input_embeddings().weight.shape[1] == size.hidden
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_every_record_is_seen_in_every_epoch(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    pretrain(
        people(21, 0),
        tmp_path / "model",
        size=SIZES["tiny"],
        epochs=2,
        report=lambda step, steps, _: seen.append((step, steps)),
    )
    assert seen == [(step, 6) for step in range(1, 7)]


def test_the_tokenizer_decodes_any_text_to_itself() -> None:
    tokenizer = train_tokenizer(people(30, 0), 512)
    text = "Zorvek, née Ünal: 5 £ – 漢字\n\n  two  spaces\tand a tab"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer) <= 512


def test_text_that_only_the_tokenizer_has_seen_is_cut_into_as_few_tokens() -> None:
    seen, unseen = people(200, 0), people(200, 1)
    tokenizer = train_tokenizer([*seen, *unseen], 1536)
    lengths = [sum(len(tokenizer(record.text)["input_ids"]) for record in records) for records in (seen, unseen)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.02)


def test_training_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        pretrain([], tmp_path / "model", report=lambda *_: None)
