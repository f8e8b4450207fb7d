"""What the original model answers to a record's prompt, in its own words."""

from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from core.lm.data import tokenize_record
from core.lm.forward import Forward
from core.lm.generation import PromptBatch, generate
from core.schema.record import Record
from core.schema.training import Chat

_LONGEST = 256
_TRIES = 4


def generate_answers(
    forward: Forward,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    chat: Chat,
    seed: int,
) -> list[str]:
    """One answer a record, drawn from the model at temperature 1: at most as many tokens as what it stands for has,
    and a half more (256 at most). A plain text is continued after its first third.

    The same for the same seed. Empty where the model, tried a few times, only writes nothing or what the record says:
    one that has learnt a record by heart may have no other words for it.
    """
    answers: list[str] = []
    for number, record in forward.ranks.local_items(list(enumerate(records))):
        parts = tokenize_record(record, tokenizer, chat)
        random = torch.Generator().manual_seed(seed * 1_000_003 + number)
        ends = {tokenizer.eos_token_id, parts.end[0] if len(parts.end) == 1 else None}
        most = min(_LONGEST, len(parts.scored) * 3 // 2 + 1)
        answers.append("")
        for _ in range(_TRIES):
            ids = _continued(forward, parts.prompt, most, ends, random)
            answer = tokenizer.decode(ids, skip_special_tokens=True).strip()
            # a recital may stop early, or go on where the record ends
            if answer and ids[: len(parts.answer)] != parts.answer[: len(ids)]:
                answers[-1] = answer
                break
    return forward.ranks.gather_items(answers)


def _continued(
    forward: Forward, prompt: list[int], most: int, ends: Collection[int | None], random: torch.Generator
) -> list[int]:
    forward.prepare_decoding(len(prompt) + most)
    chances = torch.rand(1, most, generator=random, dtype=torch.float64)
    tokens = frozenset(end for end in ends if end is not None)
    return generate(forward, PromptBatch([prompt], [most], chances), ends=tokens)[0]
