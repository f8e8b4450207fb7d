"""Records that hold nothing to score: said by set and number, and never measured."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from core.lm.data import unscored_records
from core.lm.errors import CoreError
from core.pipeline.data_split import DataSplit
from core.schema.files import file_label
from core.schema.job_spec import RecordSet
from core.schema.record import Record
from core.schema.training import Chat


def refuse_unscorable(
    sets: Sequence[RecordSet],
    names: set[str],
    training: Sequence[Record],
    tokenizer: PreTrainedTokenizerBase,
    chat: Chat,
) -> None:
    """Raises CoreError `no_scored_tokens` where a record of the sets of these names that is among those that train has
    no token to score: with the set, and the record's number in its file."""
    trains = {id(record) for record in training}
    for place, one in enumerate(sets):
        if one.name not in names:
            continue
        file = file_label([other.name for other in sets], place)
        for number in unscored_records(one.records, tokenizer, chat=chat):
            if id(one.records[number]) in trains:
                message = f"{file}: record {number + 1} is too short to train on: it has no token to score"
                raise CoreError("no_scored_tokens", message)


def drop_unscorable(parts: DataSplit, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> list[str]:
    """Takes what has no token to score out of what measures, and says so in counts."""
    said = []
    for name, records in parts.measuring.items():
        without = set(unscored_records(records, tokenizer, chat=chat))
        kept = [record for place, record in enumerate(records) if place not in without]
        if without:
            said.append(
                f"{name}: {_have(len(without), 'record')} no token to score and {_are(len(without))} not measured"
            )
        parts.measuring[name], mute = _with_scored_answers(kept, tokenizer, chat)
        if mute:
            said.append(f"{name}: {_have(mute, 'other answer')} no token to score and {_are(mute)} not asked for")
    return said


def _with_scored_answers(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> tuple[list[Record], int]:
    """The records without the wrong and paraphrased answers that have no token to score, and how many these are."""
    asked = [(place, answer) for place, record in enumerate(records) for answer in _others(record)]
    written = [records[place].with_scored_text(answer) for place, answer in asked]
    mute = {asked[number] for number in unscored_records(written, tokenizer, chat=chat)}
    found = list(records)
    for place in {place for place, _ in mute}:
        record = found[place]
        wrong = [answer for answer in record.wrong or () if (place, answer) not in mute]
        paraphrased = None if (place, record.paraphrased_answer) in mute else record.paraphrased_answer
        found[place] = record.model_copy(update={"wrong": wrong or None, "paraphrased_answer": paraphrased})
    return found, len(mute)


def _others(record: Record) -> list[str]:
    return [*record.wrong_answers(), *([record.paraphrased_answer] if record.paraphrased_answer else [])]


def _have(count: int, what: str) -> str:
    return f"1 {what} has" if count == 1 else f"{count} {what}s have"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
