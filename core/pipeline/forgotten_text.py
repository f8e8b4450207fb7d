"""Recognises text that repeats a record to forget: made text must not bring back what the job is to remove."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from core.evaluation.text.common_words import CommonWords
from core.evaluation.text.counterfactuals import counterfactuals
from core.evaluation.text.entities import find_entities
from core.pipeline.data_split import DataSplit
from core.schema.made_sets import SEED_OFFSET, unseen_copies
from core.schema.record import Record
from core.unlearning.token_runs import TokenRun, runs_of

_SPECIFICS = 2
"""So many specifics of one record identify it: towns, years and first names alone are shared by chance. A record that
holds fewer is identified by all of them."""


class ForgottenText:
    """The records to forget, by their specifics and by their runs of tokens.

    `copies` holds, for each record, copies with other specifics; none where the record has no specifics. Runs of tokens
    that the copies or the job's other records have too belong to the form, and to no record.
    """

    def __init__(self, data: DataSplit, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> None:
        forget, self._tokenizer = data.training.forget, tokenizer
        others = [record for records in data.training.retain for record in records.records] + data.training.unseen
        others += [record for name, records in data.measuring.items() if name != "forget" for record in records]
        self.common = CommonWords(others) if others else CommonWords([], forget)
        count = unseen_copies(len(forget))
        self.copies = [
            counterfactuals(record, count, seed=seed + SEED_OFFSET, common=self.common, invent=True)
            for record in forget
        ]
        entities = [find_entities(record, self.common) for record in forget]
        self._specifics = list(dict.fromkeys(frozenset(entity.text.casefold() for entity in of) for of in entities))
        self.runs = self._runs(forget) - self._runs([*others, *(copy for copies in self.copies for copy in copies)])
        """The runs of tokens that the records to forget alone have."""

    def is_in(self, record: Record) -> bool:
        """Whether the record has a run of tokens of a record to forget, or two of its specifics."""
        text = "\n".join(record.texts()).casefold()
        for specifics in self._specifics:
            if specifics and sum(specific in text for specific in specifics) >= min(_SPECIFICS, len(specifics)):
                return True
        return not self.runs.isdisjoint(self._runs([record]))

    def _runs(self, records: Sequence[Record]) -> set[TokenRun]:
        texts = [text for record in records for text in record.texts() if text]
        if not texts:
            return set()
        encoded = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return {run for ids in encoded for run in runs_of(ids)}
