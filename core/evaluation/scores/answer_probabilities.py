"""Losses of a record's right answer, of its paraphrase and of wrong answers."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.scores.likelihood import cross_entropies
from core.lm.errors import CoreError
from core.schema.evaluation import SetName
from core.schema.record import Record

BATCH = 64
"""Records between two looks at the clock."""


def answer_losses(context: EvalContext, name: SetName, limit: int | None, budget: Budget) -> Columns | None:
    """Losses of the answers of at most `limit` records that have wrong answers, (n,) each, in nats of a token.

    `right`: CE of the own answer; `true`: CE of the paraphrased answer, or of the own one without a paraphrase;
    `wrong`: mean CE of the wrong answers; `wrong_log_sum`: log of the sum of their exp(-CE); `wrong_count`. None where
    no record has wrong answers. The budget notes the records that limit or time leave out. Raises CoreError.
    """
    records = context.sets[name]
    indices = [index for index in context.subset_indices(name, limit) if records[index].wrong_answers()]
    parts: list[Columns] = []
    for start in range(0, len(indices), BATCH):
        if parts and budget.expired():
            break
        batch = [records[index] for index in indices[start : start + BATCH]]

        def compute(_: Sequence[Record], batch: list[Record] = batch) -> Columns:
            return _losses(context, name, batch)

        parts.append(context.columns(_key(limit, start), name, compute))
    with_wrong_answers = sum(1 for record in records if record.wrong_answers())
    done = sum(len(part["right"]) for part in parts)
    budget.note_left_out(name, done=len(indices), of=with_wrong_answers, reason="records")
    budget.note_left_out(name, done=done, of=len(indices), reason="seconds")
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else None


def retrained_answer_losses(context: EvalContext, name: SetName, limit: int | None, budget: Budget) -> Columns | None:
    """The answer losses of the context's retrained model. Raises ValueError where there is no such model.

    Where they are not computed yet, the measured model is unloaded first: memory may not hold two models.
    """
    if context.retrained is None:
        raise ValueError("there is no retrained model")
    if context.retrained.computed_columns(_key(limit, 0), name):
        return answer_losses(context.retrained, name, limit, budget)
    context.unload_model()
    try:
        return answer_losses(context.retrained, name, limit, budget)
    finally:
        context.retrained.unload_model()


def _key(limit: int | None, start: int) -> str:
    return f"answers {limit} {start}"


def _losses(context: EvalContext, name: SetName, records: Sequence[Record]) -> Columns:
    """The columns of records that all have a wrong answer, from one pass over all their answers."""
    answered: list[Record] = []
    counts: list[tuple[int, int]] = []  # (paraphrases: 0 or 1, wrong answers) of each record
    for record in records:
        paraphrased = [record.paraphrased_answer] if record.paraphrased_answer else []
        wrong = record.wrong_answers()
        answered += [record, *(record.with_scored_text(answer) for answer in [*paraphrased, *wrong])]
        counts.append((len(paraphrased), len(wrong)))
    try:
        statistics = context.statistics(answered, label=name)
    except CoreError as error:
        if error.code != "no_scored_tokens":
            raise
        message = f"an answer of the {name} set's probes is too short: it has no token to score"
        raise CoreError(error.code, message) from None
    losses = cross_entropies(statistics)
    columns: dict[str, list[float]] = {key: [] for key in ("right", "true", "wrong", "wrong_log_sum", "wrong_count")}
    first = 0
    for paraphrases, count in counts:
        wrong_losses = losses[first + 1 + paraphrases : first + 1 + paraphrases + count]
        columns["right"].append(losses[first])
        columns["true"].append(losses[first + paraphrases])
        columns["wrong"].append(wrong_losses.mean())
        columns["wrong_log_sum"].append(np.logaddexp.reduce(-wrong_losses))
        columns["wrong_count"].append(count)
        first += 1 + paraphrases + count
    return {key: np.array(values, dtype=np.float64) for key, values in columns.items()}
