import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.lm.errors import CoreError
from core.lm.model import context_length, load, model_digest, stored_dtype
from core.lm.saving import save
from core.schema.manifest import digest, manifest
from tests.unit.lm.tiny import tiny_model, tiny_tokenizer

CPU = torch.device("cpu")


@pytest.fixture
def saved(tmp_path):
    save(tiny_model(dtype=torch.float32), tiny_tokenizer(), tmp_path / "model", "# card\n")
    return tmp_path / "model"


def test_a_checkpoint_loads_with_transformers_and_is_the_same_model(saved):
    model = AutoModelForCausalLM.from_pretrained(saved)
    tokenizer = AutoTokenizer.from_pretrained(saved)
    for name, weight in tiny_model(dtype=torch.float32).state_dict().items():
        assert model.state_dict()[name].equal(weight)
    assert tokenizer("w0 w1")["input_ids"] == [0, 3, 4]
    assert (saved / "README.md").read_text() == "# card\n"
    assert json.loads((saved / "config.json").read_text())["use_cache"] is True


def test_weights_are_float32_in_memory_whatever_the_files_hold(tmp_path):
    save(tiny_model(dtype=torch.bfloat16), tiny_tokenizer(), tmp_path / "given", "card")
    model, _ = load(tmp_path / "given", "auto", device=CPU)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert not model.training
    assert stored_dtype(model) == torch.bfloat16


@pytest.mark.parametrize("dtype", ["bfloat16", None])
def test_the_stored_dtype_is_that_of_the_files_and_not_the_configs(saved, dtype):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"dtype": dtype}))
    assert stored_dtype(load(saved, device=CPU)[0]) == torch.float32
    assert refused(saved, weights="bfloat16") == "master_weights_too_coarse"


def test_pickled_weights_are_refused(saved):
    torch.save(tiny_model(dtype=torch.float32).state_dict(), saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(CoreError, match="model_unreadable"):
        load(saved, "auto", device=CPU)


def test_code_in_the_directory_is_never_run(saved):
    config = json.loads((saved / "config.json").read_text())
    config["model_type"] = "theirs"
    config["auto_map"] = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "theirs.py").write_text("raise SystemExit('was run')\n")
    with pytest.raises(CoreError, match="model_unreadable"):
        load(saved, "auto", device=CPU)


@pytest.mark.parametrize("harm", ["nothing there", "half a file", "a bad tokenizer", "no tokenizer", "not json"])
def test_an_unreadable_model_is_the_users_fault_and_named_without_its_path(saved, harm):
    if harm == "nothing there":
        saved = saved / "absent"
    elif harm == "half a file":
        weights = (saved / "model.safetensors").read_bytes()
        (saved / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    elif harm == "a bad tokenizer":
        (saved / "tokenizer.json").write_text('{"model": 7}')
    elif harm == "no tokenizer":
        (saved / "tokenizer.json").unlink()
        (saved / "tokenizer_config.json").unlink()
    else:
        (saved / "config.json").write_text("{")
    with pytest.raises(CoreError) as caught:
        load(saved, "auto", device=CPU)
    error = caught.value.as_error()
    assert (error.code, error.blame, error.retryable) == ("model_unreadable", "user", False)
    assert str(saved.parent) not in error.message


def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    model = tiny_model(dtype=torch.float32)
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = object()  # cannot be written as JSON
    with pytest.raises(TypeError):
        save(model, tokenizer, tmp_path / "model", "card")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_written_into_an_empty_directory_and_never_over_another(saved, tmp_path):
    with pytest.raises(CoreError, match="output_not_empty"):
        save(tiny_model(dtype=torch.float32), tiny_tokenizer(), saved, "card")
    (tmp_path / "empty").mkdir()
    save(tiny_model(dtype=torch.float32), tiny_tokenizer(), tmp_path / "empty", "card")
    assert (tmp_path / "empty/model.safetensors").exists()


def test_the_digest_is_that_of_all_files_but_hidden_ones_and_the_manifest(saved):
    before = model_digest(saved)
    assert before == digest(manifest(saved))
    (saved / ".cache").mkdir()
    (saved / ".cache/lock").write_text("left by a download")
    (saved / "manifest.json").write_text("[]")
    assert model_digest(saved) == before
    (saved / "original").mkdir()
    (saved / "original/params.json").write_text("{}")
    assert model_digest(saved) != before
    assert "original/params.json" in [entry.path for entry in manifest(saved)]


def test_records_are_cut_to_the_models_context():
    assert context_length(tiny_model(), 1000) == 64
    assert context_length(tiny_model(), 10) == 10


def refused(directory, *args, **options):
    with pytest.raises(CoreError) as caught:
        load(directory, *args, device=CPU, **options)
    assert caught.value.blame == "user"
    assert str(directory.parent) not in caught.value.message
    return caught.value.code


def test_quantised_and_float8_weights_are_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    quantised = config | {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    (saved / "config.json").write_text(json.dumps(quantised))
    assert refused(saved) == "quantised_model"
    (saved / "config.json").write_text(json.dumps(config))
    weights = load_file(saved / "model.safetensors")
    save_file(
        weights | {"lm_head.weight": weights["lm_head.weight"].to(torch.float8_e4m3fn)}, saved / "model.safetensors"
    )
    assert refused(saved) == "unsupported_dtype"


def test_a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused(saved):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"more{number}" for number in range(3)])
    tokenizer.save_pretrained(saved)
    assert refused(saved) == "vocabulary_mismatch"


@pytest.mark.parametrize(
    ("in_config", "in_generation", "end"),
    [(1, None, 1), ([4, 1], None, 4), (1, 5, 5), (1, [5, 4], 5), (None, [4, 1], 4), (None, None, None), ([], [], None)],
)
def test_a_tokenizer_without_an_end_gets_the_generation_configs_else_the_configs(saved, in_config, in_generation, end):
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(saved)
    for name, ends in (("config.json", in_config), ("generation_config.json", in_generation)):
        content = json.loads((saved / name).read_text()) | {"eos_token_id": ends}
        (saved / name).write_text(json.dumps(content))
    assert load(saved, device=CPU)[1].eos_token_id == end


def test_a_tokenizers_own_end_stays(saved):
    content = json.loads((saved / "generation_config.json").read_text()) | {"eos_token_id": [5, 4]}
    (saved / "generation_config.json").write_text(json.dumps(content))
    assert load(saved, device=CPU)[1].eos_token_id == tiny_tokenizer().eos_token_id


def test_bfloat16_weights_can_be_held_in_bfloat16_and_finer_weights_cannot(saved, tmp_path):
    assert refused(saved, weights="bfloat16") == "master_weights_too_coarse"
    save(tiny_model(dtype=torch.bfloat16), tiny_tokenizer(), tmp_path / "half", "card")
    model, _ = load(tmp_path / "half", device=CPU, weights="bfloat16")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert load(saved, "bfloat16", device=CPU, weights="bfloat16")[0].dtype == torch.bfloat16


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_training_never_changes_the_mapped_files(tmp_path, weights):
    save(tiny_model(dtype=torch.bfloat16), tiny_tokenizer(), tmp_path / "half", "card")
    before = model_digest(tmp_path / "half")
    model, _ = load(tmp_path / "half", device=CPU, weights=weights)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(1)
    assert model_digest(tmp_path / "half") == before
