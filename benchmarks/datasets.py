"""The benchmarks' data: records that a small model learns by heart, records that it must forget, and unseen records.

`demo` is made by this project's generator; `demo-50` and `demo-500` have fewer and more to forget, and each
`demo-N-of-500` a model of 500 people, of whom it must forget N. `tofu` (arXiv
2401.06121) and `lume` (arXiv 2502.15097) are read from public files that the project does not ship, `pretraining` from
texts that a pre-trained model knows already. A seed chooses the people, or the passages: all records of one person are
in one set.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks import passages, tofu
from core.demo.people import demo_sets
from core.schema import manifest
from core.schema.evaluation import SetName
from core.schema.record import Record

Sets = dict[SetName, list[Record]]

PEOPLE_TO_FORGET = {f"demo-{count}-of-500": count for count in (1, 5, 25, 40, 100)}
"""Benchmarks by the number of people to forget, of 500 that the model knows. `demo` itself forgets 200."""

FILES: dict[str, tuple[str, ...]] = {
    "demo": (),
    "demo-50": (),
    "demo-500": (),
    **dict.fromkeys(PEOPLE_TO_FORGET, ()),
    "tofu": ("tofu_forget10_perturbed.json", "tofu_retain_perturbed.json", "tofu_retain90.json"),
    "lume": ("lume_pii_forget.jsonl", "lume_pii_retain.jsonl"),
    "pretraining": passages.FOLDERS,
}
"""The public files, or folders, that each benchmark is read from."""

OPTION = dict.fromkeys(FILES, "--public") | {"pretraining": "--passages"}
"""The option that names the folder of a benchmark's files."""


class DataMissing(Exception):
    """A public file is not where it was looked for."""


def load_sets(name: str, seed: int, folder: Path) -> Sets:
    """Returns the sets of a benchmark for a seed. Raises DataMissing, and KeyError for an unknown name."""
    _refuse_missing(name, folder)
    loaders: dict[str, Callable[[], Sets]] = {
        "demo": lambda: demo_sets(forget=200, retain=300, unseen=400, seed=1000 + seed),
        "demo-50": lambda: demo_sets(forget=50, retain=120, unseen=160, seed=1000 + seed),
        "demo-500": lambda: demo_sets(forget=500, retain=300, unseen=1000, seed=1000 + seed),
        **{data: partial(_of_500, count, seed) for data, count in PEOPLE_TO_FORGET.items()},
        "tofu": lambda: _tofu(seed, folder),
        "lume": lambda: _lume(seed, folder),
        "pretraining": lambda: _passages(seed, folder),
    }
    return loaders[name]()


def load_few(name: str, seed: int, folder: Path) -> Sets:
    """Returns smaller sets of a benchmark, for a model that takes long to learn them. Raises as `load_sets` does.

    TOFU: four authors to forget, 76 to keep and 16 unseen, five questions each, so that 5 % are forgotten.
    """
    few: dict[str, Callable[[], Sets]] = {
        "demo": lambda: demo_sets(forget=20, retain=40, unseen=60, seed=1000 + seed, form="messages"),
        "tofu": lambda: _few_of_tofu(seed, folder),
        "lume": lambda: _lume(seed, folder, forget=5, retain=15, unseen=20),
    }
    if name not in few:
        return load_sets(name, seed, folder)
    _refuse_missing(name, folder)
    return few[name]()


def digests(name: str, folder: Path) -> dict[str, str]:
    """Returns the sha256 of each public file that the benchmark reads; of a folder, the digest of its manifest."""
    return {
        file: manifest.digest(manifest.manifest(folder / file))
        if (folder / file).is_dir()
        else hashlib.sha256((folder / file).read_bytes()).hexdigest()
        for file in FILES[name]
    }


def _refuse_missing(name: str, folder: Path) -> None:
    missing = [file for file in FILES[name] if not (folder / file).exists()]
    if missing:
        raise DataMissing(f"{name}: {', '.join(missing)} not found in {folder}: name the folder with {OPTION[name]}")


def _of_500(forget: int, seed: int) -> Sets:
    return demo_sets(forget=forget, retain=500 - forget, unseen=400, seed=1000 + seed)


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


def _few_of_tofu(seed: int, folder: Path) -> Sets:
    """Returns five questions of each author; the probes are the questions to forget, with their wrong answers."""
    forget, retained, others = (_authors(folder / file) for file in FILES["tofu"])
    draw = random.Random(f"tofu/few/{seed}")
    to_forget, protected = draw.sample(forget, 4), draw.sample(retained[:-1], 4)
    more = draw.sample(others[len(retained) + 1 :], 72 + 16)
    to_keep, unseen = [*protected, *more[:72]], more[72:]

    def questions(authors: Sequence[Sequence[Record]]) -> list[Record]:
        return _flat([author[::4] for author in authors])

    return {
        "forget": [_plain(record) for record in questions(to_forget)],
        "retain": [_plain(record) for record in questions(to_keep)],
        "unseen": [_plain(record) for record in questions(unseen)],
        "probes": questions(to_forget),
        "protected": questions(protected),
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


def _lume(seed: int, folder: Path, *, forget: int = 30, retain: int = 40, unseen: int = 60) -> Sets:
    """Returns so many people of each set: a text and five questions with answers for each person."""
    records_of: dict[str, list[Record]] = defaultdict(list)
    for file in FILES["lume"]:
        for line in (folder / file).read_text(encoding="utf-8").splitlines():
            if line.strip():
                record = Record.model_validate_json(line)
                records_of[record.subject or ""].append(_as_text_or_question(record))
    people = random.Random(f"lume/{seed}").sample(sorted(records_of), forget + retain + unseen)
    return {
        "forget": _flat([records_of[person] for person in people[:forget]]),
        "retain": _flat([records_of[person] for person in people[forget : forget + retain]]),
        "unseen": _flat([records_of[person] for person in people[forget + retain :]]),
    }


def _passages(seed: int, folder: Path) -> Sets:
    """Returns passages to forget, to keep and unseen, of the texts in the folder of each set."""
    sizes: dict[SetName, int] = {"forget": 40, "retain": 60, "unseen": 80}
    return {name: passages.draw(folder / name, count, seed) for name, count in sizes.items()}


def _as_text_or_question(record: Record) -> Record:
    """Returns a text to complete as one text, and a question with a mark before its answer."""
    prompt, completion = record.prompt or "", record.completion or ""
    if prompt.endswith("?"):
        return record.model_copy(update={"prompt": f"Question: {prompt}\nAnswer:", "completion": f" {completion}"})
    return Record(id=record.id, subject=record.subject, text=f"{prompt} {completion}")


def _flat(groups: Sequence[Sequence[Record]]) -> list[Record]:
    return [record for group in groups for record in group]
