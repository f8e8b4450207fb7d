"""The benchmarks' data: records that a small model learns by heart, records that it must forget, and unseen records.

`demo` is made by this project's generator; `demo-500` has more records to forget. `tofu` (arXiv 2401.06121) and `lume`
(arXiv 2502.15097) are read from public files that the project does not ship. A seed chooses the people: all records of
one person are in one set.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import tofu
from core.demo.people import demo_sets
from core.schema.evaluation import SetName
from core.schema.record import Record

Sets = dict[SetName, list[Record]]

FILES = {
    "demo": (),
    "demo-500": (),
    "tofu": ("tofu_forget10_perturbed.json", "tofu_retain_perturbed.json", "tofu_retain90.json"),
    "lume": ("lume_pii_forget.jsonl", "lume_pii_retain.jsonl"),
}
"""The public files that each benchmark is read from."""


class DataMissing(Exception):
    """A public file is not where it was looked for."""


def load_sets(name: str, seed: int, folder: Path) -> Sets:
    """Returns the sets of a benchmark for a seed. Raises DataMissing, and KeyError for an unknown name."""
    missing = [file for file in FILES[name] if not (folder / file).exists()]
    if missing:
        raise DataMissing(f"{name}: {', '.join(missing)} not found in {folder}: name the folder with --public")
    loaders: dict[str, Callable[[], Sets]] = {
        "demo": lambda: demo_sets(forget=200, retain=300, unseen=400, seed=1000 + seed),
        "demo-500": lambda: demo_sets(forget=500, retain=300, unseen=1000, seed=1000 + seed),
        "tofu": lambda: _tofu(seed, folder),
        "lume": lambda: _lume(seed, folder),
    }
    return loaders[name]()


def digests(name: str, folder: Path) -> dict[str, str]:
    """Returns the sha256 of each public file that the benchmark reads."""
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES[name]}


def _tofu(seed: int, folder: Path) -> Sets:
    """Returns 8 authors to forget, 12 to keep, 16 unseen: 20 questions each, of which five are probes too."""
    forget, retained, others = (_authors(folder / file) for file in FILES["tofu"])
    draw = random.Random(f"tofu/{seed}")
    # the first authors to keep, except the last, have paraphrased and wrong answers; the others are unseen
    to_forget, to_keep = draw.sample(forget, 8), draw.sample(retained[:-1], 12)
    unseen = draw.sample(others[len(retained) + 1 :], 16)
    return {
        "forget": [_plain(record) for record in _flat(to_forget)],
        "retain": [_plain(record) for record in _flat(to_keep)],
        "unseen": [_plain(record) for record in _flat(unseen)],
        "probes": _flat([author[::4] for author in to_forget]),
        "protected": _flat([author[::4] for author in to_keep]),
    }


def _authors(file: Path) -> list[list[Record]]:
    records = [_answer_after_space(record) for record in tofu.read_records(file)]
    step = tofu.QUESTIONS_OF_AN_AUTHOR
    return [records[start : start + step] for start in range(0, len(records), step)]


def _answer_after_space(record: Record) -> Record:
    """Moves the space before the answer into the answer, since the small models' tokenizer splits before spaces."""

    def after_space(text: str | None) -> str | None:
        return None if text is None else f" {text}"

    return record.model_copy(
        update={
            "prompt": (record.prompt or "").rstrip(" "),
            "completion": after_space(record.completion),
            "paraphrases": [prompt.rstrip(" ") for prompt in record.paraphrases or []] or None,
            "paraphrased_answer": after_space(record.paraphrased_answer),
            "wrong": [f" {answer}" for answer in record.wrong or []] or None,
        }
    )


def _plain(record: Record) -> Record:
    return Record(id=record.id, subject=record.subject, prompt=record.prompt, completion=record.completion)


def _lume(seed: int, folder: Path) -> Sets:
    """Returns 30 people to forget, 40 to keep, 60 unseen: a text and five questions with answers for each person."""
    records_of: dict[str, list[Record]] = defaultdict(list)
    for file in FILES["lume"]:
        for line in (folder / file).read_text(encoding="utf-8").splitlines():
            if line.strip():
                record = Record.model_validate_json(line)
                records_of[record.subject or ""].append(_as_text_or_question(record))
    people = random.Random(f"lume/{seed}").sample(sorted(records_of), 130)
    return {
        "forget": _flat([records_of[person] for person in people[:30]]),
        "retain": _flat([records_of[person] for person in people[30:70]]),
        "unseen": _flat([records_of[person] for person in people[70:]]),
    }


def _as_text_or_question(record: Record) -> Record:
    """Returns a text to complete as one text, and a question with a mark before its answer."""
    prompt, completion = record.prompt or "", record.completion or ""
    if prompt.endswith("?"):
        return record.model_copy(update={"prompt": f"Question: {prompt}\nAnswer:", "completion": f" {completion}"})
    return Record(id=record.id, subject=record.subject, text=f"{prompt} {completion}")


def _flat(groups: Sequence[Sequence[Record]]) -> list[Record]:
    return [record for group in groups for record in group]
