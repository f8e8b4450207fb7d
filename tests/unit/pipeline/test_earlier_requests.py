"""The warning about earlier requests whose text cannot be compared with the records of a job."""

from core.pipeline.earlier_requests import describe_unread
from core.schema.job_spec import RecordSet
from core.schema.previously_forgotten import EarlierRequest
from core.schema.record import Record


def request(job: str, *, digests_kept: bool) -> EarlierRequest:
    return EarlierRequest(job=job, records=3, last_measured=None, digests_kept=digests_kept)


def test_a_request_whose_text_was_read_needs_no_warning() -> None:
    read = RecordSet(name="forget", earlier="job-1", positions=[0], records=[Record(text="x")])
    assert describe_unread([request("job-1", digests_kept=False)], [read]) == []


def test_what_digests_find_and_what_nothing_finds_is_said_apart() -> None:
    damaged = RecordSet(name="forget", earlier="job-1", positions=[], unread="unreadable", records=[Record(text="x")])
    requests = [
        request("job-1", digests_kept=True),
        request("job-2", digests_kept=True),
        request("job-3", digests_kept=False),
    ]
    by_digest, by_nothing = describe_unread(requests, [damaged])
    assert by_digest.startswith("the text that 2 earlier jobs made the model forget is deleted or cannot be read")
    assert "found by their digests" in by_digest
    assert by_nothing.startswith("the text that job-3 made the model forget")
    assert "no digests of its records were kept under the service key in use" in by_nothing
