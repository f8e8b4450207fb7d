"""The records of earlier requests: they are measured again, and never trained on."""

from collections.abc import Sequence

from core.evaluation.eval_context import EarlierRecords
from core.schema.job_spec import RecordSet
from core.schema.previously_forgotten import EarlierRequest


def separate_earlier(sets: Sequence[RecordSet]) -> tuple[list[RecordSet], list[RecordSet]]:
    """Returns the sets of the job itself, and those of earlier requests."""
    own = [records for records in sets if records.earlier is None]
    return own, [records for records in sets if records.earlier is not None]


def match_requests(requests: Sequence[EarlierRequest], sets: Sequence[RecordSet]) -> list[EarlierRecords]:
    """Returns each request with the records to measure and their positions; none where its text cannot be read."""
    records_of = {records.earlier: records for records in sets}
    matched = []
    for request in requests:
        records = records_of.get(request.job)
        places = [] if records is None else records.positions or []
        sampled = [] if records is None else [(place, records.records[place]) for place in places]
        matched.append(EarlierRecords(request, sampled, "deleted" if records is None else records.unread))
    return matched
