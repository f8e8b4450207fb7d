"""The processes that exports are read back in: each has the transformers it should, and the logits are the model's."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.plain_transformers import PINNED, Major, Reader, Unreadable, logits, run

ROWS = [[3, 1, 4, 1, 5], [9, 2]]


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=11, initializer_range=0.3, **shape)).eval()


@pytest.mark.parametrize(("major", "version"), [(4, PINNED), (5, "5.")])
def test_a_process_has_the_transformers_that_is_asked_for(major: Major, version: str) -> None:
    assert run("import transformers; print(transformers.__version__)", major=major).startswith(version)


def test_a_script_that_fails_fails_the_test_with_its_own_words() -> None:
    with pytest.raises(AssertionError, match="no such directory, of all places"):
        run("raise SystemExit('no such directory, of all places')")


@pytest.mark.parametrize("major", [4, 5])
def test_logits_are_what_the_model_gives_to_each_row_alone(major: Major, tmp_path: Path) -> None:
    saved = model()
    saved.save_pretrained(tmp_path)
    for row, found in zip(ROWS, logits(tmp_path, ROWS, major=major, dtype="float64"), strict=True):
        wanted = saved.double()(input_ids=torch.tensor([row])).logits[0]
        torch.testing.assert_close(torch.from_numpy(found), wanted.detach(), rtol=1e-9, atol=1e-9)


def test_a_directory_that_cannot_be_read_is_said_and_the_next_one_is_read(tmp_path: Path) -> None:
    with Reader(5) as reader:
        with pytest.raises(Unreadable, match=r"config\.json"):
            reader.logits(tmp_path, ROWS)
        model().save_pretrained(tmp_path)
        assert [found.shape for found in reader.logits(tmp_path, ROWS)] == [(5, 11), (2, 11)]
