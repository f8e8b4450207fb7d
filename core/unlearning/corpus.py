"""A set's tokens, with the numbering that precomputed tables are read by."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk, encode
from core.schema.files import Record


class Corpus:
    """The chunks of a set. Its M scored tokens, the rows, are numbered through in order of record and position."""

    def __init__(self, chunks: Sequence[Chunk], device: torch.device) -> None:
        self.chunks = list(chunks)
        self.of_record: list[list[int]] = []
        """The places in `chunks` of each record's chunks."""
        self._first: list[int] = []
        row = 0
        for place, chunk in enumerate(self.chunks):
            if chunk.record == len(self.of_record):
                self.of_record.append([])
            self.of_record[chunk.record].append(place)
            self._first.append(row)
            row += int(chunk.scored.sum())
        self.rows = row
        self._first.append(row)
        numbers = torch.tensor([chunk.record for chunk in self.chunks])
        sizes = torch.tensor(self._first).diff()
        self.record = numbers.repeat_interleave(sizes).to(device)  # (M,)
        self.share = 1 / torch.bincount(self.record)[self.record].double()  # (M,) a token's part in its record's mean

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        chat: Literal["raw", "template"],
        device: torch.device,
    ) -> "Corpus":
        return cls(encode(records, tokenizer, max_length=max_length, chat=chat), device)

    def __len__(self) -> int:
        """Records."""
        return len(self.of_record)

    def index(self, chunk: int) -> Tensor:
        """The rows of one chunk: (n,), on the CPU."""
        return torch.arange(self._first[chunk], self._first[chunk + 1])
