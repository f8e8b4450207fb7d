"""The other records on a bench: what they say of which words are ordinary, and whose values twins are made of."""

import hashlib
import json
from collections.abc import Sequence

from core.evaluation.background import Background
from core.evaluation.bench import Bench
from core.evaluation.twins import Pool
from core.schema.evaluation import SetName
from core.schema.files import Record

MOST = 400
"""Records of a set that are looked at: enough to know its words, and for twins that differ."""


def background(bench: Bench) -> Background:
    """Of the unseen, retain and general sets' words. Only where there are none, of those of the forget set, which may
    be about one person alone, that are in lower case: so a later job finds the same of the same sets."""
    unseen, retain = _unseen(bench), _some([*bench.calibrating.get("retain", []), *bench.sets.get("retain", [])])
    others = [*unseen, *retain, *_some(bench.sets.get("general", []))]
    return Background(others) if others else Background([], _some(bench.sets.get("forget", [])))


def pool(bench: Bench, words: Background, *, count: int) -> Pool:
    """The unseen records that are measured; the other half too where those are fewer than `count`.

    Not the other half first: a method may hold the model's distribution on it, which twins should not gain from.
    """
    measuring = _some(bench.sets.get("unseen", []))
    return Pool(measuring if len(measuring) >= count else _unseen(bench), words)


def digest(bench: Bench) -> str:
    """Of all that either of them comes from, where there is more than a forget set."""
    names: tuple[SetName, ...] = ("retain", "unseen", "general")
    whole = hashlib.sha256()
    for name in names:
        for records in (bench.calibrating.get(name, []), bench.sets.get(name, [])):
            whole.update(json.dumps([name, *(_hash(record) for record in records)]).encode())
    return whole.hexdigest()


def _unseen(bench: Bench) -> list[Record]:
    return _some(bench.calibrating.get("unseen", [])) + _some(bench.sets.get("unseen", []))


def _some(records: Sequence[Record]) -> list[Record]:
    """At most `MOST`, the same ones whatever their order."""
    return sorted(records, key=_hash)[:MOST]


def _hash(record: Record) -> str:
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()
