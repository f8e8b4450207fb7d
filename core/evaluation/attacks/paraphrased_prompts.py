"""What a model answers to a record's prompt in other words."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.scores.likelihood import probabilities
from core.evaluation.text.overlap import rouge_l
from core.evaluation.text.prefixes import beginning
from core.schema.evaluation import SetName
from core.schema.record import Record

AT_ONCE = 64
"""Records between two looks at the clock."""


def rewordings(record: Record) -> list[Record]:
    """The record once for each of its paraphrases that says something, with that as the last thing asked.

    The whole of a plain text is the answer. What a chat says before its last question stays.
    """
    return [record.with_question(paraphrase) for paraphrase in record.paraphrases or () if paraphrase.strip()]


def reworded(
    context: EvalContext, name: SetName, *, limit: int | None, tokens: int, each: int, budget: Budget
) -> tuple[Columns | None, list[str]]:
    """`recall` and `probability` (n,) of at most `limit` records of a set, means over at most `each` paraphrases, and
    warnings; None where no record has any.

    What the limit or the time leaves out is noted in the budget. Raises CoreError as encoding does.
    """
    records = context.sets[name]
    able = sum(1 for record in records if rewordings(record))
    # as many more as have none are chosen, so that `limit` of those that have some are among them
    chosen = context.subset_indices(name, None if limit is None else limit + len(records) - able)
    places = [place for place in chosen if rewordings(records[place])][:limit]
    if not places:
        # a forget set need not have any; probes are made to be asked
        return None, [f"{name}: no record has paraphrases"] if name == "probes" else []
    parts: list[Columns] = []
    for start in range(0, len(places), AT_ONCE):
        if parts and budget.expired():
            break
        asked = [records[place] for place in places[start : start + AT_ONCE]]

        def compute(_: Sequence[Record], asked: list[Record] = asked) -> Columns:
            return _reworded(context, name, asked, tokens=tokens, each=each)

        parts.append(context.columns(f"reworded {limit} {tokens} {each} {start}", name, compute))
    whole = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    budget.note_left_out(name, done=len(places), of=able, reason="records")
    budget.note_left_out(name, done=len(whole["recall"]), of=len(places), reason="seconds")
    warnings = []
    if without := len(records) - able:
        warnings.append(f"{name}: {without} of {len(records)} records have no paraphrases, and are left out")
    if cut := int(whole.pop("cut").sum()):
        warnings.append(f"{name}: {cut} prompts are longer than {context.length} tokens, and lost their beginning")
    return whole, warnings


def _reworded(context: EvalContext, name: SetName, records: Sequence[Record], *, tokens: int, each: int) -> Columns:
    asked = [rewordings(record)[:each] for record in records]
    flat = [one for some in asked for one in some]
    probable = probabilities(context.statistics(flat, label=name))
    tokenizer, chat = context.tokenizer, context.training.chat
    starts = [beginning(one, tokenizer, length=context.length, chat=chat, tokens=tokens) for one in flat]
    said = continuations(context, [start.first for start in starts], [len(start.rest) for start in starts])
    recalls = [
        rouge_l(*(str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in (start.rest, tries[0])))[0]
        for start, tries in zip(starts, said, strict=True)
    ]
    cut = [float(start.cut) for start in starts]
    ends = np.cumsum([len(some) for some in asked])[:-1]
    recall, probability, cuts = (np.split(np.array(one), ends) for one in (recalls, probable, cut))
    return {
        "recall": np.array([some.mean() for some in recall]),
        "probability": np.array([some.mean() for some in probability]),
        "cut": np.array([some.sum() for some in cuts]),
    }
