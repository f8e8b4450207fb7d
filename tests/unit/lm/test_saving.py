"""Exports: the source's files, with the weights that changed."""

import json
import struct
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, GPT2Config, GPT2LMHeadModel, MixtralConfig, Qwen2MoeConfig
from transformers.core_model_loading import SplitModulelist

from core.lm import adapter
from core.lm.companion_files import CARD, companion_files
from core.lm.errors import CoreError
from core.lm.model import load
from core.lm.saving import export, export_adapter, refuse_unexportable, save
from core.lm.tensor_files import Copy
from core.schema.training import Lora
from tests.unit.lm.tiny import VOCABULARY, tiny_model, tiny_tokenizer

CPU = torch.device("cpu")
IDS = torch.arange(3, 15)[None]
NORM = "model.norm.weight"
QUERY = "model.layers.1.self_attn.q_proj.weight"


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def header(path: Path) -> bytes:
    content = path.read_bytes()
    return content[8 : 8 + struct.unpack("<Q", content[:8])[0]]


def tensors(directory: Path) -> dict[str, torch.Tensor]:
    return {name: weight for file in directory.glob("*.safetensors") for name, weight in load_file(file).items()}


def differing(before: Path, after: Path) -> set[str]:
    """Returns the names of the tensors whose bytes differ."""
    old, new = tensors(before), tensors(after)
    assert old.keys() == new.keys()
    return {name for name in old if old[name].dtype != new[name].dtype or not bits(old[name]).equal(bits(new[name]))}


def bits(weight: torch.Tensor) -> torch.Tensor:
    return weight.contiguous().flatten().view(torch.uint8)


def load_and_change(source: Path, *names: str, **options: str):
    """Loads the model of the directory and changes the named weights, as training does."""
    model, _ = load(source, device=CPU, **options)
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).add_(0.25)
    return model


@pytest.fixture
def source(tmp_path):
    """A model in bfloat16 with float32 norms."""
    directory = tmp_path / "theirs"
    model = tiny_model(dtype=torch.bfloat16)
    save(model, tiny_tokenizer(), directory, "# Theirs\n")
    weights = load_file(directory / "model.safetensors")
    with torch.no_grad():
        weights |= {name: weight.float() + 1e-4 for name, weight in weights.items() if "norm" in name}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt", "made by": "them"})
    return directory


def test_files_and_weights_that_did_not_change_are_exported_byte_for_byte(source, tmp_path):
    (source / "LICENSE").write_text("theirs")
    (source / "config.json").write_text((source / "config.json").read_text().replace("  ", "\t") + "\r\n")
    (tmp_path / "blob").write_bytes(b"\x00linked")
    (source / "vocab.json").symlink_to(tmp_path / "blob")
    (source / "original").mkdir()
    (source / "original" / "params.json").write_text("{}")
    (source / ".gitattributes").write_text("none of the model's")
    export(load(source, device=CPU)[0], source, tmp_path / "out", "card")
    before, after = contents(source), contents(tmp_path / "out")
    del before[".gitattributes"]
    assert after.pop(CARD) == b"card"
    assert after == before
    assert not (tmp_path / "out/vocab.json").is_symlink()


@pytest.mark.parametrize("master", ["float32", "bfloat16"])
@pytest.mark.parametrize("trained", [[QUERY], [NORM], [QUERY, NORM, "lm_head.weight"]])
def test_trained_tensors_alone_differ_and_keep_their_own_dtype(source, tmp_path, master, trained):
    model = load_and_change(source, *trained, weights=master)
    export(model, source, tmp_path / "out", "card")
    assert differing(source, tmp_path / "out") == set(trained)
    assert header(source / "model.safetensors") == header(tmp_path / "out/model.safetensors")
    for name in trained:
        old, new = tensors(source)[name], tensors(tmp_path / "out")[name]
        assert new.equal(model.get_parameter(name).to(old.dtype))


def test_unchanged_values_keep_the_precision_that_the_model_in_memory_lacks(source, tmp_path):
    """In bfloat16 a float32 norm is rounded; values that training did not change are not rounded in the file."""
    model, _ = load(source, device=CPU, weights="bfloat16")
    with torch.no_grad():
        model.get_parameter(NORM)[3] += 1
    export(model, source, tmp_path / "out", "card")
    changed = tensors(source)[NORM] != tensors(tmp_path / "out")[NORM]
    assert changed.nonzero().tolist() == [[3]]


@pytest.mark.parametrize("names", [["lm_head.weight"], ["model.embed_tokens.weight"], None])
def test_a_tied_model_keeps_the_tensor_names_of_its_file(tmp_path, names):
    save(tiny_model(dtype=torch.float32, tied=True), tiny_tokenizer(), tmp_path / "given", "card")
    weights = load_file(tmp_path / "given/model.safetensors")
    embeddings = weights.pop("model.embed_tokens.weight")
    names = names or ["lm_head.weight", "model.embed_tokens.weight"]
    weights |= {name: embeddings.clone() for name in names}
    save_file(weights, tmp_path / "given/model.safetensors", metadata={"format": "pt"})
    model = load_and_change(tmp_path / "given", "model.embed_tokens.weight")
    export(model, tmp_path / "given", tmp_path / "out", "card")
    assert differing(tmp_path / "given", tmp_path / "out") == set(names)
    for name in names:
        assert tensors(tmp_path / "out")[name].equal(embeddings + 0.25)


def test_shards_and_their_index_are_kept(tmp_path):
    original = tiny_model(dtype=torch.float32)
    original.save_pretrained(tmp_path / "given", max_shard_size="10KB")
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    files = {path.name for path in (tmp_path / "given").iterdir()}
    assert len([name for name in files if name.endswith(".safetensors")]) > 2
    export(load_and_change(tmp_path / "given", QUERY), tmp_path / "given", tmp_path / "out", "card")
    before, after = contents(tmp_path / "given"), contents(tmp_path / "out")
    assert after.keys() == before.keys() | {CARD}
    assert sum(before[name] != after[name] for name in before) == 1
    assert differing(tmp_path / "given", tmp_path / "out") == {QUERY}


def mixture(kind):
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    small |= {
        "intermediate_size": 24,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    if kind == "mixtral":
        return MixtralConfig(num_local_experts=4, num_experts_per_tok=2, bos_token_id=0, eos_token_id=1, **small)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    return Qwen2MoeConfig(shared_expert_intermediate_size=8, bos_token_id=0, eos_token_id=1, **experts, **small)


@pytest.mark.parametrize("kind", ["mixtral", "qwen2_moe"])
def test_experts_that_the_model_joins_are_exported_as_separate_tensors(tmp_path, kind):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(mixture(kind)).save_pretrained(tmp_path / "given", max_shard_size="10KB")
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    model, _ = load(tmp_path / "given", device=CPU)
    experts = model.model.layers[1].mlp.experts
    with torch.no_grad():
        experts.gate_up_proj[2, : experts.gate_up_proj.shape[1] // 2] += 1  # the first half of each is the gate
        experts.down_proj[3] += 1
    export(model, tmp_path / "given", tmp_path / "out", "card")
    gate, down = ("w1", "w2") if kind == "mixtral" else ("gate_proj", "down_proj")
    module = "block_sparse_moe" if kind == "mixtral" else "mlp"
    layer = f"model.layers.1.{module}.experts"
    assert differing(tmp_path / "given", tmp_path / "out") == {f"{layer}.2.{gate}.weight", f"{layer}.3.{down}.weight"}
    reloaded, _ = load(tmp_path / "out", device=CPU)
    assert all(reloaded.state_dict()[name].equal(weight) for name, weight in model.state_dict().items())


def gpt2(directory, rename):
    """Saves a GPT-2 whose file has names and masks of older versions."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=16, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    weights = {rename(name): weight for name, weight in load_file(directory / "model.safetensors").items()}
    masks = {rename(f"transformer.h.{layer}.attn.bias"): torch.ones(1, 1, 64, 64).tril() for layer in range(2)}
    save_file(weights | masks, directory / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: name,
        lambda name: name.removeprefix("transformer."),
    ],
)
def test_tensor_names_of_older_versions_and_tensors_that_are_not_loaded_are_kept(tmp_path, rename):
    gpt2(tmp_path / "given", rename)
    trained = ["transformer.h.0.attn.c_attn.weight", "transformer.ln_f.weight", "transformer.wte.weight"]
    model = load_and_change(tmp_path / "given", *trained)
    export(model, tmp_path / "given", tmp_path / "out", "card")
    assert differing(tmp_path / "given", tmp_path / "out") == {rename(name) for name in trained}
    with torch.no_grad():
        assert load(tmp_path / "out", device=CPU)[0](IDS).logits.equal(model(IDS).logits)


def test_norms_named_gamma_and_beta_keep_their_names(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = BertConfig(vocab_size=VOCABULARY, is_decoder=True, bos_token_id=0, eos_token_id=1, **sizes)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "given")
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    file = tmp_path / "given/model.safetensors"
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    weights = load_file(file)
    for now, before in old.items():
        weights = {name.replace(now, before): weight for name, weight in weights.items()}
    save_file(weights, file, metadata={"format": "pt"})
    model = load_and_change(tmp_path / "given", "bert.embeddings.LayerNorm.weight")
    export(model, tmp_path / "given", tmp_path / "out", "card")
    assert differing(tmp_path / "given", tmp_path / "out") == {"bert.embeddings.LayerNorm.gamma"}


OLD = ["consolidated.safetensors", "model.gguf", "onnx/model.onnx", "original/consolidated.00.pth", "pytorch_model.bin"]


def test_weights_in_other_files_are_left_out(source, tmp_path):
    model = load_and_change(source, QUERY)
    for name in ("adapter_config.json", *OLD, "manifest.json"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("{}")
    export(model, source, tmp_path / "out", "card")
    assert companion_files(source).left_out == ["adapter_config.json", *OLD]
    assert not {*OLD, "adapter_config.json", "manifest.json"} & contents(tmp_path / "out").keys()


def test_a_second_export_keeps_the_first_exports_card(source, tmp_path):
    export(load_and_change(source, QUERY), source, tmp_path / "first", "# The first\n")
    export(load_and_change(tmp_path / "first", NORM), tmp_path / "first", tmp_path / "second", "# The second\n")
    assert (tmp_path / "second" / CARD).read_text() == "# The second\n\n---\n\n# The first\n"
    assert (tmp_path / "second/README.md").read_text() == "# Theirs\n"
    assert differing(source, tmp_path / "second") == {QUERY, NORM}


def test_a_registered_dtype_replaces_the_one_that_most_weights_have_and_no_other(source, tmp_path):
    model, _ = load(source, "float32", device=CPU)
    export(model, source, tmp_path / "wide", "card", dtype="float32")
    assert {weight.dtype for weight in tensors(tmp_path / "wide").values()} == {torch.float32}
    assert tensors(tmp_path / "wide")[NORM].equal(tensors(source)[NORM])
    assert differing(source, tmp_path / "wide") == {name for name in tensors(source) if "norm" not in name}
    export(load(source, "bfloat16", device=CPU)[0], source, tmp_path / "same", "card", dtype="bfloat16")
    assert differing(source, tmp_path / "same") == set()
    assert contents(tmp_path / "same")["config.json"] == contents(source)["config.json"]


@pytest.mark.parametrize("field", ["dtype", "torch_dtype"])
def test_a_registered_dtype_is_written_to_the_config_and_the_index(tmp_path, field):
    tiny_model(dtype=torch.float32).save_pretrained(tmp_path / "given", max_shard_size="10KB")
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    config = (tmp_path / "given/config.json").read_text().replace('"dtype"', f'"{field}"')
    (tmp_path / "given/config.json").write_text(config)
    model = load_and_change(tmp_path / "given", QUERY)
    export(model, tmp_path / "given", tmp_path / "out", "card", dtype="bfloat16")
    assert contents(tmp_path / "out")["config.json"].decode() == config.replace("float32", "bfloat16")
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    given = json.loads((tmp_path / "given/model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] * 2 == given["metadata"]["total_size"]
    assert index["weight_map"] == given["weight_map"]
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert reloaded.dtype == torch.bfloat16
    assert all(reloaded.state_dict()[name].equal(weight.bfloat16()) for name, weight in model.state_dict().items())


def test_an_export_with_a_weight_that_no_file_holds_names_it_and_leaves_nothing_behind(source, tmp_path):
    model = load_and_change(source, QUERY)
    weights = load_file(source / "model.safetensors")
    del weights[QUERY]
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CoreError, match=f"weights_not_in_files.*{QUERY}"):
        refuse_unexportable(model, source)
    with pytest.raises(CoreError, match=f"weights_not_in_files.*{QUERY}"):
        export(model, source, tmp_path / "out", "card")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def test_a_weight_that_cannot_be_converted_back_is_named(tmp_path, monkeypatch):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(mixture("mixtral")).save_pretrained(tmp_path / "given")
    tiny_tokenizer().save_pretrained(tmp_path / "given")
    model, _ = load(tmp_path / "given", device=CPU)
    refuse_unexportable(model, tmp_path / "given")
    split = SplitModulelist.convert
    monkeypatch.setattr(
        SplitModulelist,
        "convert",
        lambda *given, **options: {name: part.flip(0) for name, part in split(*given, **options).items()},
    )
    with pytest.raises(CoreError, match=r"weights_not_convertible.*model\.layers\.0\.mlp\.experts"):
        refuse_unexportable(model, tmp_path / "given")
    with pytest.raises(CoreError, match=r"weights_not_convertible.*model\.layers\.0\.mlp\.experts"):
        export(model, tmp_path / "given", tmp_path / "out", "card")


def test_a_full_disk_leaves_nothing_behind(source, tmp_path, monkeypatch):
    model = load_and_change(source, QUERY)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Copy, "put", full)
    with pytest.raises(OSError, match="No space"):
        export(model, source, tmp_path / "out", "card")
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]


def with_adapter(source):
    model, _ = load(source, device=CPU)
    torch.manual_seed(1)
    adapter.attach(model, Lora(rank=2, modules=["q_proj"]))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.1)
    return model


def test_an_adapter_is_merged_into_its_weights(source, tmp_path):
    export(with_adapter(source), source, tmp_path / "out", "card")
    queries = {name for name in tensors(source) if "q_proj" in name}
    assert differing(source, tmp_path / "out") == queries
    assert header(source / "model.safetensors") == header(tmp_path / "out/model.safetensors")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks
def test_an_adapter_alone_is_exported_with_the_tokenizer_and_the_terms_unchanged(source, tmp_path):
    (source / "LICENSE.txt").write_text("theirs")
    (source / "special_tokens_map.json").write_text('{"eos_token": "<eos>"}')
    (source / "chat_template.jinja").write_text("{{ messages }}")
    export_adapter(with_adapter(source), source, tmp_path / "out", "card", base="theirs")
    before, after = contents(source), contents(tmp_path / "out")
    assert after.pop("README.md") == b"card"
    assert after.pop("adapter_model.safetensors")
    assert json.loads(after.pop("adapter_config.json"))["base_model_name_or_path"] == "theirs"
    kept = {"LICENSE.txt", "special_tokens_map.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}
    assert after == {name: before[name] for name in kept}
    base = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    expected = with_adapter(source)(IDS).logits
    assert PeftModel.from_pretrained(base, tmp_path / "out").eval()(IDS).logits.equal(expected)
