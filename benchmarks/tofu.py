"""TOFU's questions (Maini et al. 2024, arXiv 2401.06121) as records: prompt, answer, paraphrases and wrong answers.

The files are JSON Lines, whatever their names say: `question`, `answer`, and in the perturbed ones
`perturbed_answer` (wrong answers), `paraphrased_answer`, `paraphrased_question`.
"""

import json
import re
from pathlib import Path
from typing import Any

from core.schema.record import Record

GROUPS = ("real_authors", "world_facts", "retain", "forget")
QUESTIONS_OF_AN_AUTHOR = 20


def read_records(path: Path) -> list[Record]:
    """Returns a file's records in the file's order.

    The file's name gives the `group` (`forget`, `retain`, `real_authors`, `world_facts`) and, where each author has
    twenty questions one after the other, the `subject`. Raises OSError, ValueError, KeyError.
    """
    group = next((group for group in GROUPS if group in path.stem), None)
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    return [_record(row, number, path.stem, group) for number, row in enumerate(rows)]


def prompt(question: str) -> str:
    """Returns a question as a prompt for a model without a chat template, in TOFU's format for Phi."""
    return f"Question: {question}\nAnswer: "


def _record(row: dict[str, Any], number: int, stem: str, group: str | None) -> Record:
    subject = None
    if group in ("retain", "forget"):
        split = re.sub(r"^tofu_|_perturbed$", "", stem)
        subject = f"{split} author {number // QUESTIONS_OF_AN_AUTHOR + 1}"
    paraphrased = row.get("paraphrased_question")
    return Record(
        id=f"{stem}-{number + 1}",
        subject=subject,
        group=group,
        prompt=prompt(row["question"]),
        completion=row["answer"],
        paraphrases=[prompt(paraphrased)] if paraphrased else None,
        paraphrased_answer=row.get("paraphrased_answer"),
        wrong=row.get("perturbed_answer"),
    )
