"""Greedy answers of a model, and how much of the true answer is in them."""

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

BATCH = 32
"""Records between two looks at the clock."""

RougeWords = Literal["any", "latin", "stems"]
"""The words that ROUGE compares: those of any script; those that the rouge-score library finds by itself (the letters a
to z, and digits); or the stems of the latter (Porter)."""


def answer_overlap(
    context: EvalContext,
    name: SetName,
    indices: Sequence[int],
    budget: Budget,
    *,
    tokens: int | None = None,
    words: RougeWords = "any",
    stops: tuple[str, ...] = (),
    truth_tokens: int | None = None,
) -> Columns:
    """ROUGE-L `recall` and `f1` (n,) of the model's answers to prompts (of a plain text: its first third).

    The n records are the first of `indices` that the time allows, and at least the first `BATCH`. An answer has at most
    `tokens` tokens (default: as many as the true one) and ends where one of `stops` begins; the true answer is cut to
    `truth_tokens` tokens. Raises CoreError.
    """
    records = context.sets[name]
    parts: list[Columns] = []
    for start in range(0, len(indices), BATCH):
        if parts and budget.expired():
            break
        batch = [records[index] for index in indices[start : start + BATCH]]

        def compute(_: Sequence[Record], batch: list[Record] = batch) -> Columns:
            pairs = greedy_answers(context, batch, tokens=tokens, stops=stops, truth_tokens=truth_tokens)
            return _rouge(pairs, words)

        key = f"answering {tokens} {words} {stops} {truth_tokens} {list(indices[start : start + BATCH])}"
        parts.append(context.columns(key, name, compute))
    budget.note_left_out(name, done=sum(len(part["recall"]) for part in parts), of=len(indices), reason="seconds")
    return {key: np.concatenate([part[key] for part in parts]) for key in ("recall", "f1")}


def greedy_answers(
    context: EvalContext,
    records: Sequence[Record],
    *,
    tokens: int | None = None,
    stops: tuple[str, ...] = (),
    truth_tokens: int | None = None,
) -> list[tuple[str, str]]:
    """(true answer, model's answer) of each record."""
    tokenizer = context.tokenizer
    tokenized = [tokenize_record(record, tokenizer, context.training.chat) for record in records]
    lengths = [len(record.scored) if tokens is None else tokens for record in tokenized]
    answers = continuations(context, [record.prompt for record in tokenized], lengths)
    pairs: list[tuple[str, str]] = []
    for record, (ids,) in zip(tokenized, answers, strict=True):
        answer: str = tokenizer.decode(ids, skip_special_tokens=True)
        for stop in stops:
            answer = answer.split(stop)[0]
        truth = tokenizer.decode(record.answer[:truth_tokens], skip_special_tokens=True)
        pairs.append((truth.strip(), answer.strip()))
    return pairs


def _rouge(pairs: Sequence[tuple[str, str]], words: RougeWords) -> Columns:
    score = rouge_l if words == "any" else _library_rouge(stems=words == "stems")
    scores = [score(truth, answer) for truth, answer in pairs]
    return {
        "recall": np.array([recall for recall, _ in scores], dtype=np.float64),
        "f1": np.array([f1 for _, f1 in scores], dtype=np.float64),
    }


def _library_rouge(*, stems: bool) -> Callable[[str, str], tuple[float, float]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=stems)

    def score(truth: str, answer: str) -> tuple[float, float]:
        rouge = scorer.score(truth, answer)["rougeL"]
        return float(rouge.recall), float(rouge.fmeasure)

    return score
