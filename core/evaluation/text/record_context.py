"""What the other records of a job contribute: common words for finding names, and values for counterfactuals.

Only the measuring halves are used: a method may preserve the model's distribution on the other halves, which no figure
should show.
"""

import hashlib
import json
from collections.abc import Sequence

from core.evaluation.eval_context import EvalContext
from core.evaluation.text.common_words import CommonWords
from core.evaluation.text.counterfactuals import DonorPool
from core.schema.evaluation import SetName
from core.schema.record import Record

MOST = 400
"""At most this many records of a set are used: enough to know its words, and for counterfactuals that differ."""
_OTHER_SETS: tuple[SetName, ...] = ("unseen", "retain", "general")


def common_words(context: EvalContext) -> CommonWords:
    """The common words of the unseen, retain and general sets.

    Without any such record, the words that the forget set has in lower case: it may be about one person alone, so its
    capitalised words say nothing. A later job with the same sets gets the same words.
    """
    records = [record for name in _OTHER_SETS for record in _sample(context.sets.get(name, []))]
    return CommonWords(records) if records else CommonWords([], _sample(context.sets.get("forget", [])))


def donor_pool(context: EvalContext, common: CommonWords) -> DonorPool:
    """The unseen records alone: the model knows the values of records that it was trained on."""
    return DonorPool(_sample(context.sets.get("unseen", [])), common)


def context_digest(context: EvalContext) -> str:
    """Digest of the records that common words and the donor pool come from, the forget set left out."""
    digest = hashlib.sha256()
    for name in _OTHER_SETS:
        digests = [record.digest().hex() for record in context.sets.get(name, [])]
        digest.update(json.dumps([name, *digests]).encode())
    return digest.hexdigest()


def _sample(records: Sequence[Record]) -> list[Record]:
    """At most `MOST` records, the same ones in whatever order they come."""
    return sorted(records, key=Record.digest)[:MOST]
