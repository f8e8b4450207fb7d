"""Answers of a model to a record's prompt in other words."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.scores.likelihood import probabilities
from core.evaluation.text.overlap import rouge_l
from core.evaluation.text.prefixes import split_prefix
from core.schema.evaluation import SetName
from core.schema.record import Record

BATCH = 64
"""Records between two looks at the clock."""


def paraphrased_records(record: Record) -> list[Record]:
    """The record once per paraphrase that is not blank, with the paraphrase as its question.

    The answer to the paraphrase of a plain text is the whole text. Earlier turns of a conversation stay.
    """
    return [record.with_question(paraphrase) for paraphrase in record.paraphrases or () if paraphrase.strip()]


def paraphrase_columns(
    context: EvalContext, name: SetName, *, limit: int | None, tokens: int, each: int, budget: Budget
) -> tuple[Columns | None, list[str]]:
    """`recall` and `probability` (n,) of at most `limit` records, means over at most `each` paraphrases; and warnings.

    None where no record has paraphrases. The budget notes the records that limit or time leave out. Raises CoreError
    as encoding does.
    """
    records = context.sets[name]
    with_paraphrases = sum(1 for record in records if paraphrased_records(record))
    # the limit is raised by the records without paraphrases, so that `limit` records with paraphrases are among them
    indices = context.subset_indices(name, None if limit is None else limit + len(records) - with_paraphrases)
    indices = [index for index in indices if paraphrased_records(records[index])][:limit]
    if not indices:
        # a forget set need not have paraphrases; probes are made to be asked
        return None, [f"{name}: no record has paraphrases"] if name == "probes" else []
    parts: list[Columns] = []
    for start in range(0, len(indices), BATCH):
        if parts and budget.expired():
            break
        batch = [records[index] for index in indices[start : start + BATCH]]

        def compute(_: Sequence[Record], batch: list[Record] = batch) -> Columns:
            return _columns(context, name, batch, tokens=tokens, each=each)

        parts.append(context.columns(f"reworded {limit} {tokens} {each} {start}", name, compute))
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    budget.note_left_out(name, done=len(indices), of=with_paraphrases, reason="records")
    budget.note_left_out(name, done=len(columns["recall"]), of=len(indices), reason="seconds")
    warnings = []
    if without := len(records) - with_paraphrases:
        warnings.append(f"{name}: {without} of {len(records)} records have no paraphrases, and are left out")
    if cut := int(columns.pop("cut").sum()):
        warnings.append(f"{name}: {cut} prompts are longer than {context.length} tokens, and lost their beginning")
    return columns, warnings


def _columns(context: EvalContext, name: SetName, records: Sequence[Record], *, tokens: int, each: int) -> Columns:
    by_record = [paraphrased_records(record)[:each] for record in records]
    paraphrased = [copy for copies in by_record for copy in copies]
    probability = probabilities(context.statistics(paraphrased, label=name))
    tokenizer, chat, length = context.tokenizer, context.training.chat, context.length
    splits = [split_prefix(copy, tokenizer, length=length, chat=chat, tokens=tokens) for copy in paraphrased]
    lengths = [len(split.continuation) for split in splits]
    answers = continuations(context, [split.prefix for split in splits], lengths)
    recall = [
        rouge_l(*(str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in (split.continuation, samples[0])))[0]
        for split, samples in zip(splits, answers, strict=True)
    ]
    cut = [float(split.truncated) for split in splits]
    ends = np.cumsum([len(copies) for copies in by_record])[:-1]
    recalls, probable, cuts = (np.split(np.array(values), ends) for values in (recall, probability, cut))
    return {
        "recall": np.array([values.mean() for values in recalls]),
        "probability": np.array([values.mean() for values in probable]),
        "cut": np.array([values.sum() for values in cuts]),
    }
