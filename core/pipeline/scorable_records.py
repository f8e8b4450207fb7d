"""Records without a token to score: refused where they would train, dropped where they would measure."""

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
    """Raises CoreError `no_scored_tokens` for a training record of the named sets that has no token to score.

    The message names the set, and the record's number in its file.
    """
    training_ids = {id(record) for record in training}
    for index, records in enumerate(sets):
        if records.name not in names:
            continue
        file = file_label([named.name for named in sets], index)
        for number in unscored_records(records.records, tokenizer, chat=chat):
            if id(records.records[number]) in training_ids:
                message = f"{file}: record {number + 1} is too short to train on: it has no token to score"
                raise CoreError("no_scored_tokens", message)


def drop_unscorable(data: DataSplit, tokenizer: PreTrainedTokenizerBase, chat: Chat) -> list[str]:
    """Drops records and other answers without a token to score from measuring; returns messages with their counts."""
    messages = []
    for name, records in data.measuring.items():
        dropped = set(unscored_records(records, tokenizer, chat=chat))
        kept = [record for index, record in enumerate(records) if index not in dropped]
        if dropped:
            messages.append(
                f"{name}: {_number_has(len(dropped), 'record')} no token to score"
                f" and {_is_or_are(len(dropped))} not measured"
            )
        data.measuring[name], answers = _without_unscorable_answers(kept, tokenizer, chat)
        if answers:
            messages.append(
                f"{name}: {_number_has(answers, 'other answer')} no token to score"
                f" and {_is_or_are(answers)} not asked for"
            )
    return messages


def _without_unscorable_answers(
    records: Sequence[Record], tokenizer: PreTrainedTokenizerBase, chat: Chat
) -> tuple[list[Record], int]:
    """The records without those wrong and paraphrased answers that have no token to score, and the answers' number."""
    answers = [(index, answer) for index, record in enumerate(records) for answer in _other_answers(record)]
    answered = [records[index].with_scored_text(answer) for index, answer in answers]
    unscorable = {answers[number] for number in unscored_records(answered, tokenizer, chat=chat)}
    kept = list(records)
    for index in {index for index, _ in unscorable}:
        record = kept[index]
        wrong = [answer for answer in record.wrong or () if (index, answer) not in unscorable]
        paraphrased = None if (index, record.paraphrased_answer) in unscorable else record.paraphrased_answer
        kept[index] = record.model_copy(update={"wrong": wrong or None, "paraphrased_answer": paraphrased})
    return kept, len(unscorable)


def _other_answers(record: Record) -> list[str]:
    return [*record.wrong_answers(), *([record.paraphrased_answer] if record.paraphrased_answer else [])]


def _number_has(count: int, noun: str) -> str:
    return f"1 {noun} has" if count == 1 else f"{count} {noun}s have"


def _is_or_are(count: int) -> str:
    return "is" if count == 1 else "are"
