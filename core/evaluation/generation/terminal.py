"""Shows how a model continues the prefixes of records. For a person's own terminal, never for a log.

    python -m core.evaluation.generation.terminal --model DIR --records FILE.jsonl --index 0 --index 3

prints one JSON line per index: `{"index", "prefix", "truth", "continuation"}`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from core.evaluation.generation.continuation import continue_prefixes
from core.evaluation.text.prefixes import split_prefix
from core.lm.errors import CoreError
from core.lm.model import context_length, device, load
from core.schema.record import Record

_MAX_TOKENS = 16384


@dataclass(frozen=True)
class Continuation:
    """A record's prefix, the true text after it, and the text that the model writes instead."""

    prefix: str
    truth: str
    continuation: str


def continue_records(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[Record],
    *,
    prefix_share: float = 0.5,
    count: int | None = None,
) -> list[Continuation]:
    """Continues the first `count` records greedily, for as many tokens as the true text has.

    The prefix is `prefix_share` of a plain text's tokens, or the whole prompt, of which a conversation's last question
    is shown. Tokens beyond the model's context are left out. Raises CoreError `no_scored_tokens`.
    """
    length, shown = context_length(model, sys.maxsize), list(records)[:count]
    splits = [
        split_prefix(record, tokenizer, length=length, chat="auto", tokens=length, share=prefix_share)
        for record in shown
    ]
    if any(not split.continuation for split in splits):
        raise CoreError("no_scored_tokens", "a record is too short: nothing of it is left to be said")
    written = continue_prefixes(
        model,
        tokenizer,
        [split.prefix for split in splits],
        [len(split.continuation) for split in splits],
        max_tokens=_MAX_TOKENS,
    )
    return [
        Continuation(
            (record.question if record.is_conversation else "") or _text(tokenizer, split.prefix),
            _text(tokenizer, split.continuation),
            _text(tokenizer, samples[0]),
        )
        for record, split, samples in zip(shown, splits, written, strict=True)
    ]


def _text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m core.evaluation.generation.terminal")
    arguments.add_argument("--model", type=Path, required=True)
    arguments.add_argument("--records", type=Path, required=True, help="JSON Lines")
    arguments.add_argument("--index", type=int, action="append", required=True, help="from 0; may be repeated")
    options = arguments.parse_args()
    lines = [line for line in options.records.read_text(encoding="utf-8").split("\n") if line.strip()]
    if any(not 0 <= index < len(lines) for index in options.index):
        arguments.error(f"--index is from 0 to {len(lines) - 1}")
    transformers_logging.disable_progress_bar()
    answers = sys.stdout
    with redirect_stdout(sys.stderr):
        model, tokenizer = load(options.model, "auto", device=device())
        records = [Record.model_validate_json(lines[index]) for index in options.index]
        for index, shown in zip(options.index, continue_records(model, tokenizer, records), strict=True):
            print(json.dumps({"index": index, **asdict(shown)}, ensure_ascii=False), file=answers, flush=True)


if __name__ == "__main__":
    main()
