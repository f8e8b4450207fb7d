"""The figures of single records to forget, kept for later jobs without the records' text."""

from collections.abc import Sequence

from core.evaluation.attacks.extraction import extraction_strengths
from core.evaluation.eval_context import EvalContext
from core.evaluation.scores.likelihood import cross_entropies, token_counts
from core.lm.data import encode, unscored_records
from core.schema.previously_forgotten import KEPT_RECORDS, KeptFigures, RecordFigures
from core.schema.record import Record
from core.schema.record_sample import RecordSample
from core.schema.training import Chat


def keep_figures(context: EvalContext, forget: Sequence[Record]) -> KeptFigures:
    """Returns the figures of at most KEPT_RECORDS records of the whole forget set; those without a token to score are
    left out. Raises CoreError."""
    sample = RecordSample(KEPT_RECORDS)
    for record in forget:
        sample.add(record)
    chat, length = context.training.chat, context.length
    sampled = sample.records()
    unscored = set(unscored_records([record for _, record in sampled], context.tokenizer, chat=chat))
    sampled = [pair for index, pair in enumerate(sampled) if index not in unscored]
    return KeptFigures(chat=chat, max_length=length, records=record_figures(context, sampled, chat, length))


def record_figures(
    context: EvalContext, sampled: Sequence[tuple[int, Record]], chat: Chat, max_length: int
) -> list[RecordFigures]:
    """Returns the figures of records with their positions, read as `chat` and `max_length` say. Raises CoreError."""
    records = [record for _, record in sampled]
    if not records:
        return []
    chunks = encode(records, context.tokenizer, max_length=max_length, chat=chat)
    statistics = context.chunk_statistics(chunks, len(records), label="forget")
    return [
        RecordFigures(position=position, loss=float(loss), extraction_strength=float(strength), tokens=int(tokens))
        for (position, _), loss, strength, tokens in zip(
            sampled,
            cross_entropies(statistics),
            extraction_strengths(statistics),
            token_counts(statistics),
            strict=True,
        )
    ]
