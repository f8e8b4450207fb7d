import torch

from core.lm import chunked_head
from core.lm.data import encode
from core.lm.forward import Forward
from core.lm.reference_outputs import ReferenceOutputs, losses, runner_up_tokens
from tests.unit.lm.tiny import VOCABULARY, records, tiny_model, tiny_tokenizer


def model_and_reference(max_tokens=1000, max_length=64):
    model = tiny_model()
    chunks = encode(records(7, seed=4), tiny_tokenizer(), max_length=max_length, chat="raw")
    forward = Forward(model)
    return model, chunks, ReferenceOutputs(forward, chunks, head=forward.frozen_head(), max_tokens=max_tokens)


def plain(model, chunks):
    """Yields (log p over the vocabulary, true token) of each scored token, in order of chunk and position."""
    for chunk in chunks:
        with torch.no_grad():
            log_p = torch.log_softmax(model(input_ids=chunk.ids[None]).logits[0], -1)
        for place in range(1, len(chunk.ids)):
            if chunk.scored[place]:
                yield log_p[place - 1], int(chunk.ids[place])


def test_rows_are_numbered_by_chunk_and_position_whatever_order_they_were_computed_in():
    for max_tokens in (1, 25, 1000):
        model, chunks, reference = model_and_reference(max_tokens, max_length=6)
        expected = torch.stack([log_p for log_p, _ in plain(model, chunks)])
        rows = torch.randperm(len(expected), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(reference.log_probabilities(rows), expected[rows], rtol=1e-9, atol=1e-9)


def test_losses_are_those_of_the_true_tokens(monkeypatch):
    model, chunks, _ = model_and_reference()
    expected = torch.stack([-log_p[token] for log_p, token in plain(model, chunks)])
    monkeypatch.setattr(chunked_head, "LOGITS_PER_SLICE", 5 * VOCABULARY)
    torch.testing.assert_close(losses(Forward(model), chunks, max_tokens=25), expected, rtol=1e-9, atol=1e-9)


def test_the_runner_up_is_the_best_wrong_token_at_the_same_position():
    model, chunks, _ = model_and_reference()
    labels = runner_up_tokens(Forward(model), chunks, max_tokens=25).tolist()
    for label, (log_p, token) in zip(labels, plain(model, chunks), strict=True):
        best = max((wrong for wrong in range(97) if wrong != token), key=lambda wrong: float(log_p[wrong]))
        assert label == best


def test_the_reference_stays_the_original_when_the_model_is_trained():
    model, _, reference = model_and_reference()
    before = reference.log_probabilities(torch.arange(5))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.5)
    assert reference.log_probabilities(torch.arange(5)).equal(before)
