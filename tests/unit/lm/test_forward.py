import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from core.lm.data import encode, pad
from core.lm.forward import Forward
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer


def chunks():
    return encode(records(7, seed=3), tiny_tokenizer(), max_length=64, chat="raw")


def one_by_one(model):
    """The logits that predict each scored token, from a plain forward of each chunk without padding."""
    rows = []
    for chunk in chunks():
        logits = model(input_ids=chunk.ids[None]).logits[0]
        rows += [logits[place - 1] for place in range(len(chunk.ids)) if chunk.scored[place]]
    return torch.stack(rows)


def test_padding_and_neighbours_do_not_change_the_logits_of_scored_positions():
    model = tiny_model()
    forward = Forward(model)
    padded = pad(chunks(), 5)
    assert forward.head is not None
    torch.testing.assert_close(forward.logits(forward.hidden(padded)), one_by_one(model), rtol=1e-9, atol=1e-9)
    assert forward.targets(padded).tolist() == [int(t) for one in chunks() for t in one.ids[one.scored]]


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
    found = forward.logits(forward.hidden(pad(chunks(), 0)))
    assert found.abs().max() <= 0.5
    torch.testing.assert_close(found, one_by_one(model), rtol=1e-4, atol=1e-5)


def test_a_frozen_head_stays_as_it_was():
    model = tiny_model(tied=True)
    forward = Forward(model)
    frozen = forward.frozen_head()
    hidden = forward.hidden(pad(chunks(), 0)).detach()
    before = forward.logits(hidden).detach()
    with torch.no_grad():
        model.get_output_embeddings().weight.add_(1)
    assert frozen(hidden).equal(before)
    assert not forward.logits(hidden).equal(before)
