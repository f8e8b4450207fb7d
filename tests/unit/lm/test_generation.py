"""Generated tokens against a loop that asks the model for one token after another, in float64 and without a cache."""

from collections.abc import Collection, Sequence

import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
)

from core.lm import generation
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, draw_tokens, generate, generate_batches, plan_batches
from core.lm.process_group import SINGLE_RANK, Ranks
from tests.unit.lm.plain import DYNAMIC, LONGROPE, SIZES, VOCABULARY, make_model, random_chunks

PROMPTS = [chunk.ids.tolist() for chunk in random_chunks(4, 11, 1, 7)]
COUNTS = [9, 3, 6, 1]
ENDS = frozenset(range(10, 20))
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=8),
    "gpt2": GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "mamba": MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=8),
}


@torch.no_grad()
def naive(
    model: PreTrainedModel,
    prompt: Sequence[int],
    count: int,
    *,
    ends: Collection[int] = (),
    chances: Tensor | None = None,
    temperature: float = 1.0,
) -> list[int]:
    """Reads the whole text again for each token; a token is drawn by adding up probabilities one by one."""
    tokens: list[int] = []
    for place in range(count):
        logits = model(input_ids=torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0, -1].double()
        if chances is None:
            token = int(logits.argmax())
        else:
            probabilities = torch.softmax(logits / temperature, dim=-1).tolist()
            token, below = 0, probabilities[0]
            while below <= chances[place]:
                token += 1
                below += probabilities[token]
        if token in ends:
            break
        tokens.append(token)
    return tokens


def uniform(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.rand(rows, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generated(
    forward: Forward,
    prompts: Sequence[list[int]] = PROMPTS,
    counts: Sequence[int] = COUNTS,
    *,
    samples: int = 0,
    ends: Collection[int] = ENDS,
    temperature: float = 1.0,
    max_tokens: int = 1000,
) -> list[list[list[int]]]:
    """The rows of each prompt; sample number n of prompt p is drawn by `uniform(.., seed=p)`."""
    rows = max(1, samples)
    planned = plan_batches(forward, prompts, counts, samples=rows, max_tokens=max_tokens)
    batches = [
        PromptBatch(
            [prompts[number] for number in batch],
            [counts[number] for number in batch],
            torch.cat([uniform(rows, max(counts), seed=number) for number in batch]) if samples else None,
        )
        for batch in planned
    ]
    written = generate_batches(forward, batches, ends=ends, temperature=temperature)
    results: list[list[list[int]]] = [[] for _ in prompts]
    for number, batch in enumerate(planned):
        for at, prompt in enumerate(batch):
            results[prompt] = written[number][at * rows : (at + 1) * rows]
    return results


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("ends", [frozenset(), ENDS], ids=["endless", "ending"])
def test_greedy_rows_are_those_of_a_plain_loop(config: PreTrainedConfig, ends: Collection[int]) -> None:
    expected = [
        [naive(make_model(config), prompt, count, ends=ends)] for prompt, count in zip(PROMPTS, COUNTS, strict=True)
    ]  # fmt: skip
    assert generated(Forward(make_model(config)), ends=ends) == expected


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("ends", [frozenset(), ENDS], ids=["endless", "ending"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_sampled_rows_are_those_of_a_plain_loop(
    config: PreTrainedConfig, ends: Collection[int], temperature: float
) -> None:
    model = make_model(config)
    expected = [
        [
            naive(model, prompt, count, ends=ends, chances=chances, temperature=temperature)
            for chances in uniform(3, max(COUNTS), seed=number)
        ]
        for number, (prompt, count) in enumerate(zip(PROMPTS, COUNTS, strict=True))
    ]
    results = generated(Forward(make_model(config)), samples=3, ends=ends, temperature=temperature)
    assert results == expected
    assert len({tuple(tokens) for rows in results for tokens in rows}) > 5


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_greedy_row_goes_with_samples_until_each_row_has_ended(config: PreTrainedConfig) -> None:
    forward, counts = Forward(make_model(config)), [9, 9]
    prompts = [PROMPTS[0]] * 2
    forward.prepare_decoding(20)
    chances = uniform(6, 9)
    rows = generate(forward, PromptBatch(prompts, counts, chances, greedy=True), ends=ENDS)
    alone = generate(forward, PromptBatch(prompts, counts, chances), ends=ENDS)
    (greedy, _) = generate(forward, PromptBatch(prompts, counts), ends=ENDS)
    assert [rows[place] for place in (1, 2, 4, 5)] == [alone[place] for place in (1, 2, 4, 5)]
    assert rows[0] == rows[3] == greedy


@pytest.mark.parametrize(
    "config",
    [
        Phi3Config(**SIZES, rope_parameters=LONGROPE, original_max_position_embeddings=32),
        LlamaConfig(**SIZES | {"max_position_embeddings": 32}, rope_parameters=DYNAMIC),
    ],
    ids=["longrope", "dynamic"],
)
def test_rows_that_come_to_choose_their_rotary_factors_do_not_disturb_the_others(config: PreTrainedConfig) -> None:
    prompts = [chunk.ids.tolist() for chunk in random_chunks(30, 5, 30)]
    together = generated(Forward(make_model(config)), prompts, [6, 6, 1], samples=2)
    for number, rows in enumerate(together):
        alone = PromptBatch([prompts[number]], [6], uniform(2, 6, seed=number))
        forward = Forward(make_model(config))
        forward.prepare_decoding(36)
        assert [tokens[: [6, 6, 1][number]] for tokens in generate(forward, alone, ends=ENDS)] == rows


def test_a_model_without_a_cache_writes_the_same() -> None:
    def without_cache(_: torch.nn.Module, __: object, output: dict[str, object]) -> object:
        output["past_key_values"] = None
        return output

    expected = generated(Forward(make_model(CONFIGS["llama"])), samples=2)
    forgetful = make_model(CONFIGS["llama"])
    forgetful.base_model.register_forward_hook(without_cache)
    assert generated(Forward(forgetful), samples=2) == expected


def test_ended_rows_leave_the_cache_once_half_of_them_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Forward(make_model(CONFIGS["llama"]))
    heights: list[int] = []
    following = Forward.next_logits

    def seen(self: Forward, ids: Tensor, *others: object) -> object:
        heights.append(len(ids))
        return following(self, ids, *others)

    forward.prepare_decoding(20)
    monkeypatch.setattr(Forward, "next_logits", seen)
    generate(forward, PromptBatch([PROMPTS[0]] * 4, [2, 2, 2, 8]))
    assert heights == [4] * 2 + [1] * 6


def test_the_size_of_the_batches_changes_no_row() -> None:
    forward = Forward(make_model(CONFIGS["llama"]))
    expected = generated(forward, samples=2)
    assert generated(forward, samples=2, max_tokens=1) == expected


def test_batches_hold_each_prompt_once_and_no_more_tokens_or_rows_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = Forward(make_model(CONFIGS["llama"]))
    prompts, counts = [*PROMPTS, [], [5]], [*COUNTS, 3, 0]
    batches = plan_batches(forward, prompts, counts, samples=2, max_tokens=30)
    assert sorted(number for batch in batches for number in batch) == [0, 1, 2, 3]  # none without prompt or count
    longest = [max(len(prompts[number]) + counts[number] for number in batch) for batch in batches]
    assert all(len(batch) == 1 or 2 * len(batch) * length <= 30 for batch, length in zip(batches, longest, strict=True))
    monkeypatch.setattr(generation, "rows_per_slice", lambda vocabulary: 4)
    assert max(len(batch) for batch in plan_batches(forward, prompts, counts, samples=2, max_tokens=1000)) == 2


def test_batches_after_a_stop_are_missing() -> None:
    forward = Forward(make_model(CONFIGS["llama"]))
    forward.prepare_decoding(20)
    batches = [PromptBatch([prompt], [2]) for prompt in PROMPTS]
    calls: list[int] = []
    written = generate_batches(forward, batches, should_stop=lambda: len(calls) == 2 or bool(calls.append(1)))
    assert written == {number: generate(forward, batch) for number, batch in enumerate(batches[:2])}


def test_ranks_share_the_batches_and_all_get_every_row() -> None:
    shares: list[object] = []

    class Recorded(Ranks):
        def all_gather(self, value: object) -> list[object]:  # type: ignore[override]
            shares.append(value)
            return list(shares)

    def written(ranks: Ranks) -> dict[int, list[list[int]]]:
        forward = Forward(make_model(CONFIGS["llama"]), ranks=ranks)
        forward.prepare_decoding(20)
        return generate_batches(forward, [PromptBatch([prompt], [4]) for prompt in PROMPTS])

    assert list(written(Recorded(0, 2))) == [0, 2]
    assert list(written(Recorded(1, 2)).items()) == list(written(SINGLE_RANK).items())


def test_generating_leaves_torchs_random_state_alone() -> None:
    forward = Forward(make_model(CONFIGS["llama"]))
    generated(forward)
    state = torch.random.get_rng_state()
    generated(forward, samples=2)
    assert torch.random.get_rng_state().equal(state)


def test_the_extreme_chances_draw_tokens_that_are_possible() -> None:
    impossible = float("-inf")
    logits = torch.tensor([[impossible, 0.0, 1.0, impossible]]).expand(2, -1)
    chances = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert draw_tokens(logits, chances).tolist() == [1, 2]


def test_probabilities_are_summed_in_the_precision_asked_for() -> None:
    """A chance between the float32 sum and the float64 sum of the first probabilities tells them apart."""
    logits = torch.rand(1, 5000, generator=torch.Generator().manual_seed(0))
    coarse = torch.softmax(logits, -1).cumsum(-1)[0, 4000]
    fine = torch.softmax(logits.double(), -1).cumsum(-1)[0, 4000]
    assert coarse != fine
    between = ((coarse.double() + fine) / 2).expand(1)
    tokens = [int(draw_tokens(logits, between, precision=precision)) for precision in (torch.float64, None)]
    assert sorted(tokens) == [4000, 4001]


def test_tokens_are_drawn_as_often_as_they_are_probable_at_the_temperature() -> None:
    logits = torch.tensor([0.0, 1.0, -2.0, 0.5], dtype=torch.float64)
    draws = 20_000
    chances = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    for temperature in (1.0, 0.5, 3.0):
        tokens = draw_tokens(logits.expand(draws, -1), chances, temperature=temperature)
        shares = torch.bincount(tokens, minlength=4) / draws
        torch.testing.assert_close(shares.double(), torch.softmax(logits / temperature, -1), atol=2 / draws, rtol=0)
