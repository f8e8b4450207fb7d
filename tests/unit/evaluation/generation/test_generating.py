"""Greedy continuations against transformers' own generation, architecture by architecture."""

from typing import cast

import pytest
import torch
from torch import BoolTensor, LongTensor
from transformers import (
    BambaConfig,
    BertConfig,
    GenerationConfig,
    GPTNeoConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from core.evaluation.generation.continuation import continue_prefixes
from core.lm.data import Chunk
from core.lm.forward import Forward
from core.unlearning.answer_generation import _sample
from core.unlearning.rehearsal import rehearse
from tests.unit.lm.plain import DYNAMIC, LONGROPE, SIZES, make_model, random_chunks
from tests.unit.lm.tiny import tiny_tokenizer

TOKENIZER = cast(PreTrainedTokenizerBase, tiny_tokenizer())
PREFIXES = [chunk.ids.tolist() for chunk in random_chunks(3, 40, 11, 30, 11, 1)]
COUNT = 8
BAMBA = BambaConfig(**SIZES | {"num_hidden_layers": 3}, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=8,
                    mamba_d_state=8, mamba_chunk_size=8)  # fmt: skip
ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=8),
    "bamba": BAMBA,
    "opt": OPTConfig(vocab_size=97, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
                     word_embed_proj_dim=32, max_position_embeddings=128),
    "gpt_neo": GPTNeoConfig(vocab_size=97, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=48,
                            window_size=8, attention_types=[[["global", "local"], 1]], max_position_embeddings=128),
    "mpt": MptConfig(vocab_size=97, d_model=32, n_heads=4, n_layers=2, max_seq_len=128),
    "mamba": MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=8),
    # keeps a cache of two caches
    "bert decoder": BertConfig(**{**SIZES, "is_decoder": True}),
    # generation reads the text again where it comes to choose the long factors
    "phi3 longrope": Phi3Config(**SIZES, rope_parameters=LONGROPE, original_max_position_embeddings=32),
    # it does not
    "llama longrope": LlamaConfig(**SIZES, rope_parameters=LONGROPE),
    "llama dynamic": LlamaConfig(**SIZES | {"max_position_embeddings": 32}, rope_parameters=DYNAMIC),
}  # fmt: skip


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    built = make_model(ARCHITECTURES[request.param])
    built.generation_config.eos_token_id = None
    return built


def generated(config: PreTrainedConfig, prefix: list[int]) -> list[int]:
    """Greedy tokens of a newly built model, whose rotary factors no earlier text has changed."""
    model = make_model(config)
    model.generation_config = GenerationConfig()
    ids = torch.tensor([prefix])
    greedy = GenerationConfig(max_new_tokens=COUNT, do_sample=False, pad_token_id=0)
    result = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=greedy)
    written: list[int] = result[0, len(prefix) :].tolist()
    return written


def test_rows_of_a_batch_are_continued_as_generate_continues_each(model: PreTrainedModel) -> None:
    TOKENIZER.eos_token = None
    result = continue_prefixes(model, TOKENIZER, PREFIXES, [COUNT] * len(PREFIXES), max_tokens=1000)
    assert [rows[0] for rows in result] == [generated(model.config, prefix) for prefix in PREFIXES]


def test_samples_do_not_depend_on_the_batch(model: PreTrainedModel) -> None:
    together = continue_prefixes(model, TOKENIZER, PREFIXES[:4], [4] * 4, samples=3, max_tokens=1000)
    alone = [
        continue_prefixes(model, TOKENIZER, [prefix], [4], samples=3, max_tokens=1000)[0] for prefix in PREFIXES[:4]
    ]
    assert together == alone


def test_rehearsal_samples_do_not_depend_on_the_batch(model: PreTrainedModel) -> None:
    """Half of them answer prompts of different lengths, which not every architecture reads beside one another."""
    unseen = [
        Chunk(LongTensor(range(3, length + 7)), BoolTensor([False] * length + [True] * 4), record)
        for record, length in enumerate((2, 9, 4))
    ]

    def written(max_tokens: int) -> list[list[int]]:
        samples = rehearse(
            Forward(model),
            tiny_tokenizer(),
            texts=12,
            temperature=1.0,
            seed=0,
            forget=random_chunks(24),
            unseen=unseen,
            retain_chunks=[],
            max_tokens=max_tokens,
            should_stop=lambda: False,
        )
        return [sample.ids.tolist() for sample in samples]

    together = written(1000)
    assert sum(ids[:2] == [3, 4] for ids in together) > 3
    assert written(40) == together


def test_a_model_without_a_cache_reads_the_whole_text_for_each_token() -> None:
    """Answers that a method has written, and samples for rehearsal, do not need a cache."""
    config = ARCHITECTURES["llama"]

    def written(forward: Forward) -> tuple[list[int], list[list[int]]]:
        answer = _sample(forward, PREFIXES[2], COUNT, frozenset(), torch.Generator().manual_seed(0))
        samples = rehearse(
            forward,
            tiny_tokenizer(),
            texts=3,
            temperature=1.0,
            seed=0,
            forget=random_chunks(20),
            retain_chunks=[],
            max_tokens=1000,
            should_stop=lambda: False,
        )
        return answer, [sample.ids.tolist() for sample in samples]

    forgetful = make_model(config)
    forgetful.base_model.register_forward_hook(_without_cache)
    assert written(Forward(forgetful)) == written(Forward(make_model(config)))


def _without_cache(_: torch.nn.Module, __: object, output: dict[str, object]) -> object:
    output["past_key_values"] = None
    return output
