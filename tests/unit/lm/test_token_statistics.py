import math

import pytest
import torch

from core.lm import chunked_head, forward
from core.lm.data import encode
from core.lm.token_statistics import token_statistics
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer


def naive(model, chunk):
    """Yields (log p, correct, mean, deviation) of each scored token, by the definitions."""
    logits = model(input_ids=chunk.ids[None]).logits[0].tolist()
    for place in range(len(chunk.ids)):
        if chunk.scored[place]:
            row = logits[place - 1]
            total = sum(math.exp(value) for value in row)
            log_p = [value - math.log(total) for value in row]
            mean = sum(math.exp(value) * value for value in log_p)
            variance = sum(math.exp(value) * value * value for value in log_p) - mean**2
            token = int(chunk.ids[place])
            yield log_p[token], max(row) == row[token], mean, math.sqrt(variance)


@pytest.mark.parametrize("max_length", [64, 5])
@pytest.mark.parametrize("max_tokens", [1, 30, 10_000])
def test_statistics_are_those_of_the_definition_however_the_records_are_cut(max_length, max_tokens):
    model = tiny_model()
    chunks = encode(records(8, seed=2), tiny_tokenizer(), max_length=max_length, chat="raw")
    statistics = token_statistics(model, chunks, 8, max_tokens=max_tokens)
    for record in range(8):
        expected = [values for chunk in chunks if chunk.record == record for values in naive(model, chunk)]
        log_p, correct, mean, deviation = zip(*expected, strict=True)
        assert statistics[record].log_probability == pytest.approx(log_p, rel=1e-9)
        assert statistics[record].correct.tolist() == list(correct)
        assert statistics[record].mean == pytest.approx(mean, rel=1e-9)
        assert statistics[record].deviation == pytest.approx(deviation, rel=1e-6)


def test_logits_are_made_in_slices(monkeypatch):
    model = tiny_model()
    chunks = encode(records(8, seed=2), tiny_tokenizer(), max_length=64, chat="raw")
    whole = token_statistics(model, chunks, 8, max_tokens=10_000)
    monkeypatch.setattr(chunked_head, "LOGITS_PER_SLICE", 97 * 3)
    sizes = []
    logits = forward.head_logits
    monkeypatch.setattr(
        forward, "head_logits", lambda hidden, *others: sizes.append(hidden.shape[0]) or logits(hidden, *others)
    )
    sliced = token_statistics(model, chunks, 8, max_tokens=10_000)
    assert max(sizes) == 3
    for record, sliced_record in zip(whole, sliced, strict=True):
        assert record.log_probability == pytest.approx(sliced_record.log_probability, rel=1e-12)


def test_a_certain_prediction_has_no_deviation_and_no_nan():
    model = tiny_model(dtype=torch.float32)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1e4)
    chunks = encode(records(3, seed=2), tiny_tokenizer(), max_length=64, chat="raw")
    for record in token_statistics(model, chunks, 3, max_tokens=1000):
        assert all(math.isfinite(value) and value >= 0 for value in record.deviation)
