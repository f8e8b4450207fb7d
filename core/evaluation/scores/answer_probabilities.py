"""How probable the right answer of a record is beside its paraphrase and beside wrong answers."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.scores.likelihood import cross_entropies
from core.lm.errors import CoreError
from core.schema.evaluation import SetName
from core.schema.record import Record

AT_ONCE = 64
"""Records between two looks at the clock."""


def answers(context: EvalContext, name: SetName, limit: int | None, budget: Budget) -> Columns | None:
    """Of the set's records that have wrong answers, at most `limit`: (n,) each, in nats of a token; None without any.

    `right` CE of the own answer; `true` of the paraphrased one, and of the own where there is no paraphrase; `wrong`
    mean CE of the wrong answers; `wrong_log_sum` log of the sum of their exp(-CE); `wrong_count`. What the limit or
    the time leaves out is noted in the budget. Raises CoreError.
    """
    records = context.sets[name]
    places = [place for place in context.subset_indices(name, limit) if records[place].wrong_answers()]
    parts: list[Columns] = []
    for start in range(0, len(places), AT_ONCE):
        if parts and budget.expired():
            break
        asked = [records[place] for place in places[start : start + AT_ONCE]]

        def compute(_: Sequence[Record], asked: list[Record] = asked) -> Columns:
            return _answered(context, name, asked)

        parts.append(context.columns(_key(limit, start), name, compute))
    done = sum(len(part["right"]) for part in parts)
    budget.note_left_out(name, done=len(places), of=sum(1 for one in records if one.wrong_answers()), reason="records")
    budget.note_left_out(name, done=done, of=len(places), reason="seconds")
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else None


def answers_of_retrained(context: EvalContext, name: SetName, limit: int | None, budget: Budget) -> Columns | None:
    """The same of the retrained model, which there must be. Where its own measuring has not left them behind, the
    measured model is let go before: two may not fit."""
    if context.retrained is None:
        raise ValueError("there is no retrained model")
    if context.retrained.computed_columns(_key(limit, 0), name):
        return answers(context.retrained, name, limit, budget)
    context.unload_model()
    try:
        return answers(context.retrained, name, limit, budget)
    finally:
        context.retrained.unload_model()


def _key(limit: int | None, start: int) -> str:
    return f"answers {limit} {start}"


def _answered(context: EvalContext, name: SetName, records: Sequence[Record]) -> Columns:
    """One pass over all answers of the records, each of which has a wrong one."""
    said: list[Record] = []
    counts: list[tuple[int, int]] = []  # (paraphrases: 0 or 1, wrong answers) of each record
    for record in records:
        other = [record.paraphrased_answer] if record.paraphrased_answer else []
        wrong = record.wrong_answers()
        said += [record, *(record.with_scored_text(answer) for answer in [*other, *wrong])]
        counts.append((len(other), len(wrong)))
    try:
        statistics = context.statistics(said, label=name)
    except CoreError as error:
        if error.code != "no_scored_tokens":
            raise
        message = f"an answer of the {name} set's probes is too short: it has no token to score"
        raise CoreError(error.code, message) from None
    losses = cross_entropies(statistics)
    columns: dict[str, list[float]] = {key: [] for key in ("right", "true", "wrong", "wrong_log_sum", "wrong_count")}
    place = 0
    for paraphrased, count in counts:
        false = losses[place + 1 + paraphrased : place + 1 + paraphrased + count]
        columns["right"].append(losses[place])
        columns["true"].append(losses[place + paraphrased])
        columns["wrong"].append(false.mean())
        columns["wrong_log_sum"].append(np.logaddexp.reduce(-false))
        columns["wrong_count"].append(count)
        place += 1 + paraphrased + count
    return {key: np.array(values, dtype=np.float64) for key, values in columns.items()}
