"""Continuations of many prefixes at once equal the continuations of each prefix alone."""

import copy
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    Lfm2Config,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from core.evaluation.eval_context import EvalContext
from core.evaluation.generation.continuation import continuations, continue_prefixes, end_tokens
from core.evaluation.measurements import resolve_measurements
from core.lm import generation
from core.lm.forward import Forward
from tests.unit.evaluation.test_runner import TRAINING
from tests.unit.lm.tiny import EOS, VOCABULARY, tiny_model, tiny_tokenizer

PREFIXES = [[5], [9, 20, 31, 42, 53, 64, 75, 86, 90], [4, 8, 12, 16], [3, 7, 11, 15, 19, 23, 27], [60, 61, 62, 63]]
COUNTS = [5, 9, 2, 9, 1]
TOKENIZER = tiny_tokenizer()


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return cast(PreTrainedModel, tiny_model())


@pytest.fixture
def endless(model: PreTrainedModel) -> Iterator[PreTrainedModel]:
    """The model, whose end-of-sequence token a test may change; it is restored after the test."""
    yield model
    model.generation_config.eos_token_id = EOS


@torch.no_grad()
def by_itself(model: PreTrainedModel, prefix: list[int], count: int, ends: tuple[int, ...] = (EOS,)) -> list[int]:
    """Greedy tokens without a cache and without other rows: the whole text is read again for each token."""
    ids = list(prefix)
    for _ in range(count):
        token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in ends:
            break
        ids.append(token)
    return ids[len(prefix) :]


def greedy(model: PreTrainedModel, prefixes: list[list[int]], counts: list[int]) -> list[list[int]]:
    continuations = continue_prefixes(model, TOKENIZER, prefixes, counts, max_tokens=1000)
    assert all(len(samples) == 1 for samples in continuations)
    return [samples[0] for samples in continuations]


def sampled(
    model: PreTrainedModel,
    prefixes: list[list[int]],
    counts: list[int],
    *,
    samples: int = 3,
    seed: int = 0,
    max_tokens: int = 1000,
) -> list[list[list[int]]]:
    return continue_prefixes(model, TOKENIZER, prefixes, counts, samples=samples, seed=seed, max_tokens=max_tokens)


def test_rows_of_unequal_length_are_continued_as_each_is_alone(model: PreTrainedModel) -> None:
    assert greedy(model, PREFIXES, COUNTS) == [
        by_itself(model, ids, count) for ids, count in zip(PREFIXES, COUNTS, strict=True)
    ]


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64),
        MistralConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            sliding_window=4,
        ),
        MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4),
        Lfm2Config(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            full_attn_idxs=[1],
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_models_of_other_architectures_continue_rows_as_each_is_alone(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    other = AutoModelForCausalLM.from_config(config).eval()
    for weight in other.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    other.generation_config.eos_token_id = None
    assert greedy(other, PREFIXES, COUNTS) == [
        by_itself(other, ids, count) for ids, count in zip(PREFIXES, COUNTS, strict=True)
    ]
    assert sampled(other, PREFIXES, COUNTS) == [
        sampled(other, [ids], [count])[0] for ids, count in zip(PREFIXES, COUNTS, strict=True)
    ]


def test_batches_have_rows_of_one_length_where_a_model_cannot_be_padded(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = greedy(model, PREFIXES, COUNTS)
    read: list[tuple[int, ...]] = []
    forward = type(model.base_model).forward

    def without_mask(self: object, input_ids: torch.Tensor, **options: object) -> object:
        if options.get("attention_mask") is not None:
            raise ValueError("no mask here")
        read.append(tuple(input_ids.shape))
        return forward(self, input_ids, **options)

    monkeypatch.setattr(type(model.base_model), "forward", without_mask)
    assert greedy(copy.deepcopy(model), PREFIXES, COUNTS) == expected  # of a model that was not tried yet
    assert {(1, 1), (1, 9), (2, 4), (1, 7)} <= set(read)


def test_a_row_stops_at_the_end_of_sequence_and_other_rows_go_on(endless: PreTrainedModel) -> None:
    continuations = greedy(endless, PREFIXES, COUNTS)
    ends = [continuations[1][2], continuations[3][5]]
    endless.generation_config.eos_token_id = ends
    assert end_tokens(endless, TOKENIZER) == {*ends, EOS}
    result = greedy(endless, PREFIXES, COUNTS)
    assert result == [by_itself(endless, ids, count, (*ends, EOS)) for ids, count in zip(PREFIXES, COUNTS, strict=True)]
    assert len(result[1]) <= 2
    endless.generation_config.eos_token_id = continuations[0][0]
    assert greedy(endless, PREFIXES[:1], [5]) == [[]]


def test_an_answer_ends_where_the_chat_template_ends_a_turn(model: PreTrainedModel) -> None:
    tokenizer = tiny_tokenizer()
    word = f"w{VOCABULARY - 4}"
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] + ' " + word + " ' }}{% endfor %}"
    assert end_tokens(model, tokenizer) - end_tokens(model, TOKENIZER) == {tokenizer.convert_tokens_to_ids(word)}


def test_samples_depend_on_seed_and_prefix_but_not_on_other_rows(model: PreTrainedModel) -> None:
    continuations = sampled(model, PREFIXES, COUNTS)
    assert [len(drawn) for drawn in continuations] == [3] * 5
    assert all(len(ids) <= count for drawn, count in zip(continuations, COUNTS, strict=True) for ids in drawn)
    assert sampled(model, PREFIXES, COUNTS, max_tokens=8) == continuations
    assert sampled(model, PREFIXES[::-1], COUNTS[::-1]) == continuations[::-1]
    assert sampled(model, PREFIXES[3:4], COUNTS[3:4]) == continuations[3:4]
    assert [drawn[:2] for drawn in continuations] == sampled(model, PREFIXES, COUNTS, samples=2)
    assert sampled(model, PREFIXES, COUNTS, seed=1) != continuations
    assert len({tuple(ids) for ids in continuations[1]}) == 3


def test_a_greedy_row_beside_samples_changes_neither(model: PreTrainedModel) -> None:
    together = continue_prefixes(model, TOKENIZER, PREFIXES, COUNTS, samples=3, greedy=True, seed=4, max_tokens=1000)
    assert [rows[0] for rows in together] == greedy(model, PREFIXES, COUNTS)
    samples = continue_prefixes(model, TOKENIZER, PREFIXES, COUNTS, samples=3, seed=4, max_tokens=1000)
    assert [rows[1:] for rows in together] == samples


def test_different_prefixes_have_different_samples_even_under_uniform_probabilities(model: PreTrainedModel) -> None:
    level = copy.deepcopy(model)
    with torch.no_grad():
        level.get_output_embeddings().weight.zero_()
    first, second = sampled(level, [[5], [6]], [9, 9], samples=1)
    assert first != second


def test_the_memory_for_logits_limits_the_rows_of_a_batch(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sampled(model, PREFIXES, COUNTS, samples=2)
    heights: list[int] = []
    forward = Forward.next_logits

    def seen(self: Forward, ids: torch.Tensor, *arguments: object) -> object:
        heights.append(len(ids))
        return forward(self, ids, *arguments)

    monkeypatch.setattr(generation, "rows_per_slice", lambda vocabulary: 4)
    monkeypatch.setattr(Forward, "next_logits", seen)
    assert sampled(model, PREFIXES, COUNTS, samples=2) == expected
    assert max(heights) == 4


def test_samples_are_as_frequent_as_they_are_probable(model: PreTrainedModel) -> None:
    count = 4000
    result = sampled(model, [PREFIXES[2]], [1], samples=count)[0]
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([PREFIXES[2]])).logits[0, -1].double().softmax(-1).numpy()
    seen = np.bincount([ids[0] if ids else EOS for ids in result], minlength=VOCABULARY) / count
    assert np.abs(seen - expected).max() < 4 * np.sqrt(0.25 / count)
    assert np.abs(seen - expected).sum() < 0.15


def test_a_prefix_that_exceeds_the_context_loses_its_beginning(model: PreTrainedModel) -> None:
    long = [(7 * place) % 90 + 3 for place in range(100)]  # the context is 64 tokens
    assert greedy(model, [long, PREFIXES[2]], [5, 2]) == [
        by_itself(model, long[-59:], 5),
        by_itself(model, PREFIXES[2], 2),
    ]
    assert max(len(ids) for ids in sampled(model, [[3]], [100], samples=20)[0]) == 63


def test_an_empty_prefix_or_a_length_of_zero_has_an_empty_continuation(model: PreTrainedModel) -> None:
    assert greedy(model, [[], [5], []], [3, 0, 0]) == [[], [], []]
    assert sampled(model, [[], [5]], [3, 0]) == [[[]] * 3, [[]] * 3]
    assert continue_prefixes(model, TOKENIZER, [], [], max_tokens=100) == []


def test_prefixes_that_are_not_reached_in_time_have_no_continuation(model: PreTrainedModel) -> None:
    calls: list[int] = []

    def after_two() -> bool:
        calls.append(1)
        return len(calls) > 2

    all_continuations = continue_prefixes(model, TOKENIZER, PREFIXES, COUNTS, max_tokens=1)
    in_time = continue_prefixes(model, TOKENIZER, PREFIXES, COUNTS, max_tokens=1, should_stop=after_two)
    assert sum(samples == [] for samples in in_time) == 3
    assert all(samples in ([], expected) for samples, expected in zip(in_time, all_continuations, strict=True))


def test_a_context_continues_in_the_same_way_until_its_budget_expires(model: PreTrainedModel) -> None:
    context = EvalContext(lambda: (model, TOKENIZER), {}, training=TRAINING)
    assert [samples[0] for samples in continuations(context, PREFIXES, COUNTS)] == greedy(model, PREFIXES, COUNTS)
    assert continuations(context, PREFIXES, COUNTS, samples=2, seed=3) == sampled(
        model, PREFIXES, COUNTS, samples=2, seed=3
    )
    measurement = resolve_measurements(["verbatim"])[0].model_copy(update={"seconds": 1e-9})
    assert continuations(context, PREFIXES, COUNTS, budget=measurement.budget(context)) == [[]] * 5
