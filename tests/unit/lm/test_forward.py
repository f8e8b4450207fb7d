import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    Phi3Config,
    Qwen2Config,
)

from core.lm import chunked_head
from core.lm.data import encode
from core.lm.forward import Forward
from tests.unit.lm.tiny import VOCABULARY, records, tiny_model, tiny_tokenizer


def chunks():
    return encode(records(7, seed=3), tiny_tokenizer(), max_length=64, chat="raw")


def one_by_one(model):
    """Returns the logits that predict each scored token, from a plain forward of each chunk without padding."""
    rows = []
    for chunk in chunks():
        logits = model(input_ids=chunk.ids[None]).logits[0]
        rows += [logits[place - 1] for place in range(len(chunk.ids)) if chunk.scored[place]]
    return torch.stack(rows)


def test_records_in_one_row_do_not_change_each_others_logits():
    model = tiny_model()
    forward = Forward(model)
    assert forward.head is not None
    assert forward.packed
    torch.testing.assert_close(forward.logits(forward.hidden(chunks())), one_by_one(model), rtol=1e-9, atol=1e-9)
    assert forward.targets(chunks()).tolist() == [int(token) for chunk in chunks() for token in chunk.ids[chunk.scored]]


def test_losses_in_slices_are_those_of_all_logits_at_once(monkeypatch):
    forward = Forward(tiny_model())
    hidden, targets = forward.hidden(chunks()), forward.targets(chunks())
    whole = -torch.log_softmax(forward.logits(hidden), -1)[torch.arange(len(targets)), targets]
    monkeypatch.setattr(chunked_head, "LOGITS_PER_SLICE", 4 * VOCABULARY)
    torch.testing.assert_close(forward.losses(hidden, targets), whole, rtol=1e-12, atol=1e-12)


SMALL = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
WIDE = {**SMALL, "intermediate_size": 48, "initializer_range": 0.2, "pad_token_id": 2}
FAMILIES = [
    LlamaConfig(**WIDE, num_key_value_heads=2),
    MistralConfig(**WIDE, num_key_value_heads=2, sliding_window=4),
    Qwen2Config(**WIDE, num_key_value_heads=2),
    Phi3Config(**WIDE, num_key_value_heads=2),
    GPT2Config(vocab_size=97, n_embd=32, n_layer=3, n_head=4, initializer_range=0.2),
    GPTNeoXConfig(**WIDE),
    OPTConfig(vocab_size=97, hidden_size=32, ffn_dim=48, num_hidden_layers=3, num_attention_heads=4, init_std=0.2,
              word_embed_proj_dim=32, max_position_embeddings=64),
]  # fmt: skip


@pytest.mark.parametrize("config", FAMILIES, ids=lambda config: config.model_type)
def test_records_of_every_family_have_the_logits_that_they_have_alone(config):
    """Packed or padded, with a separate head or as a whole: the trial has chosen a correct layout."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    expected = one_by_one(model)
    forward = Forward(model)
    torch.testing.assert_close(forward.logits(forward.hidden(chunks())), expected, rtol=1e-4, atol=1e-4)
    if config.model_type in ("llama", "mistral", "qwen2", "phi3"):
        assert forward.packed


def test_states_are_those_of_the_layer_at_the_tokens_themselves_and_no_later_layer_runs():
    model = tiny_model()
    forward = Forward(model)
    runs = []
    model.model.layers[1].register_forward_hook(lambda *_: runs.append(1))
    actual = forward.states(chunks(), 0)
    assert not runs
    assert len(model.model.layers) == 2
    rows = []
    for chunk in chunks():
        states = model.model(input_ids=chunk.ids[None], output_hidden_states=True).hidden_states[1][0]
        rows += [states[place] for place in range(len(chunk.ids)) if chunk.scored[place]]
    torch.testing.assert_close(actual, torch.stack(rows), rtol=1e-9, atol=1e-9)


def test_a_model_that_caps_its_logits_is_run_as_a_whole():
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=97,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=0.5,
        initializer_range=0.3,
        attn_implementation="eager",
    )
    model = Gemma2ForCausalLM(config).eval()
    forward = Forward(model)
    assert forward.head is None
    logits = forward.logits(forward.hidden(chunks()))
    assert logits.abs().max() <= 0.5
    torch.testing.assert_close(logits, one_by_one(model), rtol=1e-4, atol=1e-5)


def test_a_frozen_head_is_not_changed_by_training():
    model = tiny_model(tied=True)
    forward = Forward(model)
    frozen = forward.frozen_head()
    hidden = forward.hidden(chunks()).detach()
    before = forward.logits(hidden).detach()
    with torch.no_grad():
        model.get_output_embeddings().weight.add_(1)
    assert frozen(hidden).equal(before)
    assert not forward.logits(hidden).equal(before)
