"""The split of a set that both trains and measures: two halves, the same for ever."""

import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Sequence

from core.schema.record import Record

# A new key or rule would move records between training and measuring: no figure could be compared with an older one.
_KEY = b"unlearning-service/split/v1"


def split(records: Sequence[Record], *, purpose: str) -> tuple[list[int], list[int]]:
    """Returns the indices that train or calibrate, and those that only measure, each ascending.

    Records of one `subject` (else: equal records) stay together. Groups are taken in the order of a keyed hash, and
    each goes into the half that is smaller at that time, the first into the training half. So a job's order of records
    and its seed do not matter.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        groups[_hash(record, purpose)].append(index)
    halves: tuple[list[int], list[int]] = ([], [])
    for _, members in sorted(groups.items()):
        halves[len(halves[1]) < len(halves[0])].extend(members)
    return sorted(halves[0]), sorted(halves[1])


def _hash(record: Record, purpose: str) -> bytes:
    content = ["record", record.identity()] if record.subject is None else ["subject", record.subject]
    message = json.dumps([purpose, *content], ensure_ascii=False).encode()
    return hmac.digest(_KEY, message, hashlib.sha256)
