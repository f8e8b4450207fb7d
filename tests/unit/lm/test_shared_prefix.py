"""Variants that share the states of their common prefix, beside the same variants read one by one."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import BoolTensor, LongTensor
from transformers import (
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen3Config,
)

from core.lm.data import Chunk
from core.lm.flops import METER
from core.lm.forward import Forward
from core.lm.shared_prefix import shared_length
from core.lm.token_statistics import TokenStatistics, token_statistics
from tests.unit.lm.plain import DYNAMIC, LONGROPE, SIZES, VOCABULARY, make_model

SHARING: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128),
    "gpt_neox": GPTNeoXConfig(**{name: size for name, size in SIZES.items() if name != "num_key_value_heads"}),
}
NOT_SHARING: dict[str, PreTrainedConfig] = {
    "mamba": MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8),
    "mistral with windows": MistralConfig(**SIZES, sliding_window=8),
    "longrope": Phi3Config(**SIZES, rope_parameters=LONGROPE, original_max_position_embeddings=32),
    "dynamic": LlamaConfig(**SIZES | {"max_position_embeddings": 32}, rope_parameters=DYNAMIC),
    "gemma2": Gemma2Config(**SIZES, head_dim=8, sliding_window=8),
}


def variants(prefix: int, lengths: Sequence[int], *, first_scored: int = 1, seed: int = 0) -> list[Chunk]:
    """Texts of these lengths that begin with the same `prefix` tokens and go on differently."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randint(3, VOCABULARY, (prefix,), generator=generator)
    chunks = []
    for number, length in enumerate(lengths):
        rest = torch.randint(3, VOCABULARY, (length - prefix,), generator=generator)
        rest[0] = 3 + number  # the first token after the prefix differs
        ids = torch.cat([common, rest])
        chunks.append(Chunk(LongTensor(ids), BoolTensor(torch.arange(length) >= first_scored), number))
    return chunks


def assert_alike(actual: Sequence[TokenStatistics], expected: Sequence[TokenStatistics], tolerance: float) -> None:
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one.log_probability, other.log_probability, rtol=0, atol=tolerance)
        np.testing.assert_allclose(one.mean, other.mean, rtol=0, atol=tolerance)
        np.testing.assert_allclose(one.deviation, other.deviation, rtol=0, atol=tolerance)
        assert one.correct.tolist() == other.correct.tolist()


@pytest.mark.parametrize("config", SHARING.values(), ids=SHARING)
@pytest.mark.parametrize("first_scored", [1, 5, 12, 20])
@pytest.mark.parametrize("max_tokens", [30, 1000])
def test_shared_prefixes_change_no_statistic(config: PreTrainedConfig, first_scored: int, max_tokens: int) -> None:
    chunks = variants(12, [40, 37, 42, 40], first_scored=first_scored)
    expected = token_statistics(make_model(config), chunks, 4, max_tokens=1000)
    before = METER.reading.tokens
    actual = token_statistics(make_model(config), chunks, 4, max_tokens=max_tokens, variants=[range(4)])
    assert METER.reading.tokens - before == 11 + sum(len(chunk.ids) - 11 for chunk in chunks)
    assert_alike(actual, expected, 1e-10)


@pytest.mark.parametrize("config", NOT_SHARING.values(), ids=NOT_SHARING)
def test_models_without_a_plain_cache_read_every_text_by_itself(config: PreTrainedConfig) -> None:
    chunks = variants(12, [40, 37, 42, 40])
    assert shared_length(Forward(make_model(config)), chunks) == 0
    expected = token_statistics(make_model(config), chunks, 4, max_tokens=1000)
    actual = token_statistics(make_model(config), chunks, 4, max_tokens=1000, variants=[range(4)])
    assert_alike(actual, expected, 1e-10)


def test_float32_differs_by_rounding_only() -> None:
    chunks = variants(20, [60] * 8)
    expected = token_statistics(make_model(SHARING["llama"], torch.float32), chunks, 8, max_tokens=1000)
    model = make_model(SHARING["llama"], torch.float32)
    assert shared_length(Forward(model), chunks) == 19
    assert_alike(token_statistics(model, chunks, 8, max_tokens=1000, variants=[range(8)]), expected, 2e-4)


def test_groups_and_single_texts_keep_their_places() -> None:
    groups = [
        variants(12, [30, 31, 32]),
        variants(9, [40]),
        variants(15, [33, 30], seed=1),
        variants(3, [9] * 4, seed=2),
    ]
    chunks = [chunk for group in groups for chunk in group]
    chunks = [Chunk(chunk.ids, chunk.scored, place) for place, chunk in enumerate(chunks)]
    model = make_model(SHARING["llama"])
    expected = token_statistics(model, chunks, len(chunks), max_tokens=100)
    places = [range(3), range(4, 6), range(6, 10)]
    assert_alike(token_statistics(model, chunks, len(chunks), max_tokens=100, variants=places), expected, 1e-10)


def test_a_prefix_is_shared_only_where_it_saves_an_eighth_of_the_tokens() -> None:
    forward = Forward(make_model(SHARING["llama"]))
    assert shared_length(forward, variants(12, [40] * 4)) == 11
    assert shared_length(forward, variants(4, [40] * 4)) == 0
    assert shared_length(forward, variants(12, [15, 40, 15, 15])) == 0  # padding costs what the prefix saves
    same = variants(12, [40])[0]
    assert shared_length(forward, [same, same, same]) == 39  # equal texts: the last token is read again
    assert shared_length(forward, [same, variants(12, [40], seed=9)[0]]) == 0


def test_tokens_are_common_only_where_they_are_scored_alike() -> None:
    forward = Forward(make_model(SHARING["llama"]))
    first, second = variants(20, [40, 40], first_scored=15)
    second = Chunk(second.ids, BoolTensor(torch.arange(40) >= 18), 1)
    assert shared_length(forward, [first, second]) == 14
