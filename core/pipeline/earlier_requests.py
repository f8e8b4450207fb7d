"""The records of earlier requests: they are measured again, and never trained on."""

from collections.abc import Sequence

from core.evaluation.eval_context import EarlierRecords
from core.schema.job_spec import RecordSet
from core.schema.previously_forgotten import EarlierRequest


def separate_earlier(sets: Sequence[RecordSet]) -> tuple[list[RecordSet], list[RecordSet]]:
    """Returns the sets of the job itself, and those of earlier requests."""
    own = [records for records in sets if records.earlier is None]
    return own, [records for records in sets if records.earlier is not None]


def describe_unread(requests: Sequence[EarlierRequest], sets: Sequence[RecordSet]) -> list[str]:
    """Returns a sentence for all earlier requests whose text cannot be compared, with digests and without."""
    unread = [earlier.request for earlier in match_requests(requests, sets) if earlier.unread is not None]
    by_digest = [request.job for request in unread if request.digests_kept]
    by_nothing = [request.job for request in unread if not request.digests_kept]
    sentences = []
    if by_digest:
        sentences.append(
            f"the text that {_jobs(by_digest)} made the model forget is deleted or cannot be read. Records of this"
            " job's sets that are the same text, but for case, spaces and line ends, are found by their digests, and"
            " nothing trains on them; a record that only contains such text, or is a part of it, is not found"
        )
    if by_nothing:
        sentences.append(
            f"the text that {_jobs(by_nothing)} made the model forget is deleted or cannot be read, and no digests of"
            " its records were kept under the service key in use: see that no set of this job holds it, because"
            " training on it would bring it back"
        )
    return sentences


def _jobs(jobs: Sequence[str]) -> str:
    return jobs[0] if len(jobs) == 1 else f"{len(jobs)} earlier jobs"


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
