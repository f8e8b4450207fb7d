"""What a model answers by itself, greedily, and how much of the true answer is in it."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from core.evaluation.budget import Budget
from core.evaluation.eval_context import Columns, EvalContext
from core.evaluation.generation.continuation import continuations
from core.evaluation.text.overlap import rouge_l
from core.lm.data import tokenize_record
from core.schema.evaluation import SetName
from core.schema.record import Record

AT_ONCE = 32
"""Records between two looks at the clock."""

Words = Literal["any", "latin", "stems"]
"""What ROUGE takes for words: those of any script, those that the rouge-score library finds by itself (the letters a to
z, and digits), or the stems of these (Porter)."""


def answering(
    context: EvalContext,
    name: SetName,
    places: Sequence[int],
    budget: Budget,
    *,
    tokens: int | None = None,
    words: Words = "any",
    stops: tuple[str, ...] = (),
    of_truth: int | None = None,
) -> Columns:
    """ROUGE-L of what follows a prompt (of a plain text: its first third) against what truly does: (n,) each, of the
    first n of the places that the time allows, and the first `AT_ONCE` in any case.

    `recall` share of the true answer's words that are answered in order; `f1`. At most `tokens` are answered, by
    default as many as the true answer has, which is cut to `of_truth` tokens; an answer ends where one of `stops`
    begins. Raises CoreError.
    """
    records = context.sets[name]
    parts: list[Columns] = []
    for start in range(0, len(places), AT_ONCE):
        if parts and budget.expired():
            break
        asked = [records[place] for place in places[start : start + AT_ONCE]]

        def compute(_: Sequence[Record], asked: list[Record] = asked) -> Columns:
            pairs = spoken(context, asked, tokens=tokens, stops=stops, of_truth=of_truth)
            return _rouge(pairs, words)

        key = f"answering {tokens} {words} {stops} {of_truth} {list(places[start : start + AT_ONCE])}"
        parts.append(context.columns(key, name, compute))
    budget.note_left_out(name, done=sum(len(one["recall"]) for one in parts), of=len(places), reason="seconds")
    return {key: np.concatenate([part[key] for part in parts]) for key in ("recall", "f1")}


def spoken(
    context: EvalContext,
    records: Sequence[Record],
    *,
    tokens: int | None = None,
    stops: tuple[str, ...] = (),
    of_truth: int | None = None,
) -> list[tuple[str, str]]:
    """(the true answer, what the model answers) of each record."""
    tokenizer = context.tokenizer
    asked = [tokenize_record(record, tokenizer, context.training.chat) for record in records]
    lengths = [len(parts.scored) if tokens is None else tokens for parts in asked]
    said = continuations(context, [parts.prompt for parts in asked], lengths)
    pairs: list[tuple[str, str]] = []
    for parts, (answer,) in zip(asked, said, strict=True):
        text: str = tokenizer.decode(answer, skip_special_tokens=True)
        for stop in stops:
            text = text.split(stop)[0]
        pairs.append((tokenizer.decode(parts.answer[:of_truth], skip_special_tokens=True).strip(), text.strip()))
    return pairs


def _rouge(pairs: Sequence[tuple[str, str]], words: Words) -> Columns:
    score = rouge_l if words == "any" else _library(stems=words == "stems")
    scores = [score(truth, said) for truth, said in pairs]
    return {
        "recall": np.array([recall for recall, _ in scores], dtype=np.float64),
        "f1": np.array([f1 for _, f1 in scores], dtype=np.float64),
    }


def _library(*, stems: bool) -> Callable[[str, str], tuple[float, float]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=stems)

    def score(truth: str, said: str) -> tuple[float, float]:
        found = scorer.score(truth, said)["rougeL"]
        return float(found.recall), float(found.fmeasure)

    return score
