"""Text that stands in for a retain or an unseen set where neither the request nor the model has one.

- Retain: texts that the reference model writes by itself at a low temperature, so that it writes what it knows. Half of
  them train, the others measure. After a job on the demo's model that forgot one record, the perplexity of the people
  to keep had risen by 2.1 %, that of texts written at a temperature of 0.5 by 2.7 %, and at 1.0 by 9.6 %.
- Unseen: copies of the records to forget whose names, numbers, places and dates are swapped for others of the same
  form; for a record without any, texts that the reference model writes at a temperature of 1. They only calibrate. No
  figure rests on them, and membership is not judged by them.

The values of the copies are pieced together from the model's own texts. The demo's model has a perplexity of 1.24 on
people that it learned and of 43 on unseen people. Copies with values of unseen people have 41, with values that are
pieced together 30 (23 for a request of one record), with all values of one text 16, with invented values 1700: an
invented name has letters that no name has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.text.counterfactuals import DonorPool, counterfactuals
from core.lm.data import unscored_records
from core.lm.forward import Forward
from core.lm.model import context_length
from core.lm.precision import training_precision
from core.pipeline.data_split import DataSplit
from core.pipeline.forgotten_text import ForgottenText
from core.schema.job_spec import RecordSet
from core.schema.jobs import Origin, Part, SetUsed
from core.schema.made_sets import SEED_OFFSET, retain_records, unseen_copies
from core.schema.policies import Policy
from core.schema.record import Record
from core.schema.training import Training
from core.unlearning.method import Method, rehearsal_length
from core.unlearning.rehearsal import write_samples
from core.unlearning.rehearsal_cache import RehearsalCache, SampleSettings

DONORS = 128
"""So many of the model's own texts give values for the copies at least."""
_SURE, _FREE = 0.5, 1.0
"""Temperatures: of texts that show what the model knows, and of texts that are as probable as text that it never saw is
for a model of general text."""
_ROUNDS = 4
"""So many times as many texts are written at most as are needed, where many repeat a record to forget."""


@dataclass(frozen=True)
class MissingSets:
    """The sets that a job lacks."""

    retain: bool
    unseen: bool

    @classmethod
    def of(cls, data: DataSplit, method: Method, policy: Policy | None) -> "MissingSets":
        """The sets that the method needs, or that the policy needs to judge what survives, and that have no record."""
        needs = method.needs()
        judged = policy is not None and any(bound.set == "retain" for bound in policy.bounds)
        trains = any(records.records for records in data.training.retain)
        return cls(
            retain=("retain" in needs and not trains) or (judged and not data.measuring.get("retain")),
            unseen="unseen" in needs and not data.training.unseen,
        )

    def __bool__(self) -> bool:
        return self.retain or self.unseen


class SetMaker:
    """Makes a job's missing sets. The same seed makes the same sets of the same model."""

    def __init__(
        self,
        data: DataSplit,
        training: Training,
        forgotten: ForgottenText,
        *,
        cache: RehearsalCache | None,
        should_stop: Callable[[], bool],
    ) -> None:
        self._data, self._training, self._cache, self._should_stop = data, training, cache, should_stop
        self._forgotten, self._forget = forgotten, data.training.forget
        self._seed = training.seed + SEED_OFFSET

    def make(self, missing: MissingSets, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[SetUsed]:
        """Adds the missing sets to the job's data; returns what was made. `model` is the reference model."""
        copies = unseen_copies(len(self._forget))
        without_specifics = sum(not of_record for of_record in self._forgotten.copies)
        calibrating = copies * without_specifics if missing.unseen else 0
        retain = retain_records(len(self._forget)) if missing.retain else 0
        sure = self._write(model, tokenizer, max(DONORS if missing.unseen else 0, retain), _SURE)
        made = []
        if missing.unseen:
            free = self._write(model, tokenizer, calibrating, _FREE) if calibrating else []
            made += self._make_unseen(free, self._swapped(sure, copies, tokenizer))
        if missing.retain and (texts := sure[:retain]):
            made.append(self._make_retain(texts))
        return made

    def _make_retain(self, texts: list[Record]) -> SetUsed:
        """Half of the texts train, where no retain records do; the other half measures, where no records do."""
        training, measuring = self._data.training, self._data.measuring
        trains, measures = not any(records.records for records in training.retain), not measuring.get("retain")
        if trains:
            training.retain = [RecordSet(name="retain", kind="in_distribution", records=texts[::2])]
        if measures:
            measuring["retain"] = texts[1::2]
        part: Part | None = None if trains and measures else "trains" if trains else "measures"
        return SetUsed(
            name="retain",
            file=None,
            kind="in_distribution",
            weight=1.0,
            part=part,
            records=len(texts[::2]) * trains + len(texts[1::2]) * measures,
            sha256=None,
            origin="made_by_the_model",
        )

    def _make_unseen(self, written: list[Record], swapped: list[Record]) -> list[SetUsed]:
        self._data.training.unseen = [*swapped, *written]
        made: list[tuple[Origin, list[Record]]] = [("made_by_swapping", swapped), ("made_by_the_model", written)]
        return [
            SetUsed(name="unseen", file=None, part="trains", records=len(records), sha256=None, origin=origin)
            for origin, records in made
            if records
        ]

    def _swapped(self, donors: list[Record], count: int, tokenizer: PreTrainedTokenizerBase) -> list[Record]:
        """`count` copies of each record with names, words and digits of the model's own texts."""
        pool = DonorPool(donors, self._forgotten.common)
        swapped = [
            copy
            for record in self._forget
            for copy in counterfactuals(record, count, seed=self._seed, pool=pool, invent=True, mixed=True)
        ]
        unscored = set(unscored_records(swapped, tokenizer, chat=self._training.chat))
        return [
            record
            for number, record in enumerate(swapped)
            if number not in unscored and not self._forgotten.is_in(record)
        ]

    def _write(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, temperature: float
    ) -> list[Record]:
        """At most `count` different texts of the model's own that repeat no record to forget."""
        training = self._training
        forward = Forward(model, autocast=training_precision(training.precision, model.dtype, model.device))
        tokens = sorted(len(tokenizer("\n".join(record.texts()))["input_ids"]) for record in self._forget)
        longest = context_length(model, training.max_length)
        # no longer than the records: a model that was never shown where a text ends goes on with nonsense
        length = min(rehearsal_length(max(tokens[len(tokens) // 2], 8), shorter=True), longest)
        texts: dict[str, Record] = {}
        for number in range(1, _ROUNDS + 1):
            samples = write_samples(
                forward,
                tokenizer,
                number * count,
                SampleSettings(temperature, self._seed, length),
                max_tokens=training.micro_batch_tokens,
                should_stop=self._should_stop,
                cache=self._cache,
            )
            for ids in samples[(number - 1) * count :]:
                text = tokenizer.decode(ids, skip_special_tokens=True).strip()
                record = Record(text=text) if text else None
                if record is not None and text not in texts and not self._forgotten.is_in(record):
                    texts[text] = record
            if len(texts) >= count or len(samples) < number * count:
                break
        records = list(texts.values())[:count]
        unscored = set(unscored_records(records, tokenizer, chat="raw"))
        return [record for number, record in enumerate(records) if number not in unscored]


_HOW: dict[Origin | None, str] = {
    "made_by_swapping": "copies of the records to forget with other names, numbers, places and dates",
    "made_by_the_model": "texts that the model wrote by itself",
}


def describe_made(made: Sequence[SetUsed]) -> str:
    """Says what was made, and what the figures and the verdict rest on."""
    sentences = [
        f"for the set '{used.name}' the job made {used.records} {_HOW[used.origin]}: {_use(used)}" for used in made
    ]
    return "neither the request nor the model has all sets that the job needs: " + "; ".join(sentences)


def _use(used: SetUsed) -> str:
    if used.name != "retain":
        return "they only calibrate, and membership is not judged by them"
    if used.part is None:
        return "half of them train, and what survives is judged by the other half"
    return "they only train" if used.part == "trains" else "what survives is judged by them"
