"""The benchmarks' data: what a small model learns by heart, what it must forget of it, and what it never sees.

`demo` is made by this project's generator; `demo-500` is more of it to forget. `tofu` (arXiv 2401.06121) and `lume`
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
"""What each is read from."""


class DataMissing(Exception):
    """A public file is not where it was looked for."""


def sets(name: str, seed: int, folder: Path) -> Sets:
    """The sets of a benchmark for one seed. Raises DataMissing, and KeyError for a name that is none."""
    missing = [file for file in FILES[name] if not (folder / file).exists()]
    if missing:
        raise DataMissing(f"{name}: {', '.join(missing)} not found in {folder}: name the folder with --public")
    made: dict[str, Callable[[], Sets]] = {
        "demo": lambda: demo_sets(forget=200, retain=300, unseen=400, seed=1000 + seed),
        "demo-500": lambda: demo_sets(forget=500, retain=300, unseen=1000, seed=1000 + seed),
        "tofu": lambda: _tofu(seed, folder),
        "lume": lambda: _lume(seed, folder),
    }
    return made[name]()


def digests(name: str, folder: Path) -> dict[str, str]:
    """The sha256 of each public file that the benchmark reads."""
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES[name]}


def _tofu(seed: int, folder: Path) -> Sets:
    """8 authors to forget, 12 to keep, 16 unseen: 20 questions and answers of each, five of which are probes too."""
    forget, held, others = (_authors(folder / file) for file in FILES["tofu"])
    chosen = random.Random(f"tofu/{seed}")
    # the first authors to keep, but for the last, have paraphrased and wrong answers: those of the others are unseen
    to_forget, to_keep = chosen.sample(forget, 8), chosen.sample(held[:-1], 12)
    unseen = chosen.sample(others[len(held) + 1 :], 16)
    return {
        "forget": [_plain(one) for one in _all(to_forget)],
        "retain": [_plain(one) for one in _all(to_keep)],
        "unseen": [_plain(one) for one in _all(unseen)],
        "probes": _all([author[::4] for author in to_forget]),
        "protected": _all([author[::4] for author in to_keep]),
    }


def _authors(file: Path) -> list[list[Record]]:
    found = [_spaced(record) for record in tofu.records(file)]
    step = tofu.QUESTIONS_OF_AN_AUTHOR
    return [found[start : start + step] for start in range(0, len(found), step)]


def _spaced(record: Record) -> Record:
    """The space before the answer as a part of the answer: the small models' tokenizer cuts before spaces."""

    def after_space(text: str | None) -> str | None:
        return None if text is None else f" {text}"

    return record.model_copy(
        update={
            "prompt": (record.prompt or "").rstrip(" "),
            "completion": after_space(record.completion),
            "paraphrases": [one.rstrip(" ") for one in record.paraphrases or []] or None,
            "paraphrased_answer": after_space(record.paraphrased_answer),
            "wrong": [f" {one}" for one in record.wrong or []] or None,
        }
    )


def _plain(record: Record) -> Record:
    return Record(id=record.id, subject=record.subject, prompt=record.prompt, completion=record.completion)


def _lume(seed: int, folder: Path) -> Sets:
    """30 people to forget, 40 to keep, 60 unseen: of each a text and five questions with their answers."""
    of_subject: dict[str, list[Record]] = defaultdict(list)
    for file in FILES["lume"]:
        for line in (folder / file).read_text(encoding="utf-8").splitlines():
            if line.strip():
                record = Record.model_validate_json(line)
                of_subject[record.subject or ""].append(_spoken(record))
    people = random.Random(f"lume/{seed}").sample(sorted(of_subject), 130)
    return {
        "forget": _all([of_subject[one] for one in people[:30]]),
        "retain": _all([of_subject[one] for one in people[30:70]]),
        "unseen": _all([of_subject[one] for one in people[70:]]),
    }


def _spoken(record: Record) -> Record:
    """The text to complete as one text; questions with a mark of where the answer begins."""
    prompt, completion = record.prompt or "", record.completion or ""
    if prompt.endswith("?"):
        return record.model_copy(update={"prompt": f"Question: {prompt}\nAnswer:", "completion": f" {completion}"})
    return Record(id=record.id, subject=record.subject, text=f"{prompt} {completion}")


def _all(groups: Sequence[Sequence[Record]]) -> list[Record]:
    return [record for group in groups for record in group]
