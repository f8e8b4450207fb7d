"""A set's tokens, with the numbering that precomputed tables are read by."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk, encode
from core.schema.record import Record
from core.schema.training import Chat


class TokenizedSet:
    """The chunks of a set. Its M scored tokens, the rows, are numbered through in order of record and position."""

    def __init__(self, chunks: Sequence[Chunk], device: torch.device, alternates: Sequence[Chunk] = ()) -> None:
        """`alternates` are further chunks of the same records: each record's come after its own."""
        both = [(chunk.record, False, chunk) for chunk in chunks] + [(one.record, True, one) for one in alternates]
        both.sort(key=lambda one: one[:2])
        self.chunks = [chunk for _, _, chunk in both]
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
        second = torch.tensor([of_alternate for _, of_alternate, _ in both])
        self.alternate = second.repeat_interleave(sizes).to(device)  # (M,) bool
        self.share = 1 / torch.bincount(self.record)[self.record].double()  # (M,) a token's part in its record's mean

    @classmethod
    def of(
        cls,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        chat: Chat,
        device: torch.device,
        pairs: bool = False,
    ) -> "TokenizedSet":
        """`pairs`: with the records' alternates, which all must have."""
        alternates: list[Chunk] = []
        if pairs:
            alternates = encode(
                [_with_alternate(record) for record in records], tokenizer, max_length=max_length, chat=chat
            )
        return cls(encode(records, tokenizer, max_length=max_length, chat=chat), device, alternates)

    def __len__(self) -> int:
        """Records."""
        return len(self.of_record)

    def part(self, records: Sequence[int]) -> "TokenizedSet":
        """A corpus of these records alone, numbered anew."""
        chunks = [
            Chunk(self.chunks[place].ids, self.chunks[place].scored, number)
            for number, record in enumerate(records)
            for place in self.of_record[record]
        ]
        return TokenizedSet(chunks, self.record.device)

    def index(self, chunk: int) -> Tensor:
        """The rows of one chunk: (n,), on the CPU."""
        return torch.arange(self._first[chunk], self._first[chunk + 1])


def _with_alternate(record: Record) -> Record:
    """The record with its alternate in the place of what is scored. Raises ValueError where it has none."""
    if record.alternate is None:
        raise ValueError("the record has no alternate")
    return record.with_scored_text(record.alternate)
