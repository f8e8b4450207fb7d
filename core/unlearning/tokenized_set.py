"""Tokens of one set, with stable row numbers: tensors computed once before training are indexed by them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from core.lm.data import Chunk, encode
from core.schema.record import Record
from core.schema.training import Chat


class TokenizedSet:
    """The chunks of one set. Its M scored tokens are its rows, numbered by record, then by position."""

    def __init__(self, chunks: Sequence[Chunk], device: torch.device, alternates: Sequence[Chunk] = ()) -> None:
        """`alternates` are chunks of the same records' alternate answers: they come after the record's own chunks."""
        labelled = [(chunk.record, False, chunk) for chunk in chunks]
        labelled += [(chunk.record, True, chunk) for chunk in alternates]
        labelled.sort(key=lambda label: label[:2])
        self.chunks = [chunk for _, _, chunk in labelled]
        self.record_chunks: list[list[int]] = []
        """For each record, the indices of its chunks in `chunks`."""
        self._first_row: list[int] = []
        row = 0
        for index, chunk in enumerate(self.chunks):
            if chunk.record == len(self.record_chunks):
                self.record_chunks.append([])
            self.record_chunks[chunk.record].append(index)
            self._first_row.append(row)
            row += int(chunk.scored.sum())
        self.row_count = row
        self._first_row.append(row)
        counts = torch.tensor(self._first_row).diff()  # rows of each chunk
        records = torch.tensor([chunk.record for chunk in self.chunks])
        self.record = records.repeat_interleave(counts).to(device)  # (M,) each row's record number
        alternate = torch.tensor([is_alternate for _, is_alternate, _ in labelled])
        self.alternate = alternate.repeat_interleave(counts).to(device)  # (M,) bool: the row is of an alternate
        # (M,) 1 / rows of the record: what a row counts in its record's mean
        self.row_weight = 1 / torch.bincount(self.record)[self.record].double()

    @classmethod
    def tokenize(
        cls,
        records: Sequence[Record],
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        chat: Chat,
        device: torch.device,
        pairs: bool = False,
    ) -> "TokenizedSet":
        """Cuts the records into chunks of at most `max_length` tokens; `pairs` adds each record's alternate.

        Raises ValueError where `pairs` is set and a record has no alternate.
        """
        alternates: list[Chunk] = []
        if pairs:
            alternates = encode(
                [_with_alternate(record) for record in records], tokenizer, max_length=max_length, chat=chat
            )
        return cls(encode(records, tokenizer, max_length=max_length, chat=chat), device, alternates)

    def __len__(self) -> int:
        """The number of records."""
        return len(self.record_chunks)

    def subset(self, records: Sequence[int]) -> "TokenizedSet":
        """A set of these records alone, with records and rows numbered anew."""
        chunks = [
            Chunk(self.chunks[index].ids, self.chunks[index].scored, number)
            for number, record in enumerate(records)
            for index in self.record_chunks[record]
        ]
        return TokenizedSet(chunks, self.record.device)

    def chunk_rows(self, chunk: int) -> Tensor:
        """The row numbers of one chunk: (n,), on the CPU."""
        return torch.arange(self._first_row[chunk], self._first_row[chunk + 1])


def _with_alternate(record: Record) -> Record:
    """The record with its alternate in place of its scored text. Raises ValueError where it has none."""
    if record.alternate is None:
        raise ValueError("the record has no alternate")
    return record.with_scored_text(record.alternate)
