"""The other records of a measurement: what they say of which words are ordinary, and whose values twins are made of.

Of their measuring halves alone: a method may hold the model's distribution on the others, which no figure should show.
"""

import hashlib
import json
from collections.abc import Sequence

from core.evaluation.eval_context import EvalContext
from core.evaluation.text.common_words import Background
from core.evaluation.text.counterfactuals import Pool
from core.schema.evaluation import SetName
from core.schema.record import Record

MOST = 400
"""Records of a set that are looked at: enough to know its words, and for twins that differ."""
_OTHERS: tuple[SetName, ...] = ("unseen", "retain", "general")


def background(context: EvalContext) -> Background:
    """Of the unseen, retain and general sets' words. Only where there are none, of those of the forget set, which may
    be about one person alone, that are in lower case: so a later job finds the same of the same sets."""
    others = [record for name in _OTHERS for record in _some(context.sets.get(name, []))]
    return Background(others) if others else Background([], _some(context.sets.get("forget", [])))


def pool(context: EvalContext, words: Background) -> Pool:
    """The unseen records, and no others: what a model was trained on has values that it knows."""
    return Pool(_some(context.sets.get("unseen", [])), words)


def digest(context: EvalContext) -> str:
    """Of all that either of them comes from, where there is more than a forget set."""
    whole = hashlib.sha256()
    for name in _OTHERS:
        hashes = [record.digest().hex() for record in context.sets.get(name, [])]
        whole.update(json.dumps([name, *hashes]).encode())
    return whole.hexdigest()


def _some(records: Sequence[Record]) -> list[Record]:
    """At most `MOST`, the same ones whatever their order."""
    return sorted(records, key=Record.digest)[:MOST]
