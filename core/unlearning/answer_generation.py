"""The reference model's own answers to the records' prompts."""

from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from core.lm.data import tokenize_record
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate
from core.schema.record import Record
from core.schema.training import Chat

_MAX_TOKENS = 256
_TRIES = 4


def generate_answers(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    chat: Chat,
    seed: int,
) -> list[str]:
    """Draws one answer to each record's prompt at temperature 1; a plain text's prompt is its first third.

    An answer has at most half as many tokens again as the record's own (256 at most). It is empty where the model, in a
    few tries, writes nothing or only the record's own answer, as a model that memorised the record may. The same seed
    gives the same answers.
    """
    answers: list[str] = []
    for number, record in forward.ranks.local_items(list(enumerate(records))):
        tokens = tokenize_record(record, tokenizer, chat)
        rng = torch.Generator().manual_seed(seed * 1_000_003 + number)
        ends = {tokenizer.eos_token_id, tokens.end[0] if len(tokens.end) == 1 else None}
        max_tokens = min(_MAX_TOKENS, len(tokens.scored) * 3 // 2 + 1)
        answers.append("")
        for _ in range(_TRIES):
            ids = _sample(forward, tokens.prompt, max_tokens, ends, rng)
            answer = tokenizer.decode(ids, skip_special_tokens=True).strip()
            # a recited answer may stop early, or go on after the record's end
            if answer and ids[: len(tokens.answer)] != tokens.answer[: len(ids)]:
                answers[-1] = answer
                break
    return forward.ranks.gather_items(answers)


def _sample(
    forward: Forward, prompt: list[int], max_tokens: int, ends: Collection[int | None], rng: torch.Generator
) -> list[int]:
    """The sampled tokens that follow the prompt, without the end token."""
    forward.prepare_decoding(len(prompt) + max_tokens)
    chances = torch.rand(1, max_tokens, generator=rng, dtype=torch.float64)
    end_tokens = frozenset(end for end in ends if end is not None)
    return generate(forward, PromptBatch([prompt], [max_tokens], chances), ends=end_tokens)[0]
