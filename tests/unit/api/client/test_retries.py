"""Which failures are worth another attempt, and the pauses before it."""

import httpx
import pytest

from api.client import Conflict, NoAnswer, NotFound, RateLimited, Retries, ServiceError, Unavailable, UnlearningError
from api.client.call import Call, create, delete, get, post
from api.client.errors import PROBLEM_TYPE, no_answer, service_error
from api.client.steps import Pause, Result, Send, advance, fail, send

GET, CREATE, ACTION, DELETE = get("/v1/jobs"), create("/v1/jobs", {}, None), post("/v1/jobs/job-0/cancel"), delete("/x")
ANSWER = httpx.Response(200)


def problem(status: int, **headers: str) -> ServiceError:
    return service_error(httpx.Response(status, headers={name.replace("_", "-"): it for name, it in headers.items()}))


def service_problem(
    status: int, type: str = f"{PROBLEM_TYPE}service-unavailable", retry_after: str | None = None
) -> ServiceError:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    return service_error(httpx.Response(status, json={"type": type}, headers=headers))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (GET, no_answer(httpx.ReadError("lost"))),
        (CREATE, no_answer(httpx.ReadError("lost"))),
        (ACTION, no_answer(httpx.ConnectError("refused"))),
        (ACTION, problem(429, retry_after="3")),
        (ACTION, service_problem(503)),
        (CREATE, problem(502)),
        (CREATE, problem(503)),
        (CREATE, problem(504)),
        (CREATE, problem(409, retry_after="1")),
        (GET, service_problem(409, f"{PROBLEM_TYPE}not-signed-yet", "2")),
    ],
)
def test_a_call_whose_work_cannot_be_done_twice_is_sent_again(call: Call, error: UnlearningError) -> None:
    steps = send(call)
    assert advance(steps) == Send(call)
    assert fail(steps, error) == Pause(1, error)
    assert advance(steps) == Send(call)
    assert advance(steps, ANSWER) == Result(ANSWER)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (ACTION, no_answer(httpx.ReadError("lost"))),
        (ACTION, problem(502)),
        (ACTION, problem(503)),
        (ACTION, service_problem(503, "about:blank")),
        (ACTION, problem(409, retry_after="1")),
        (CREATE, problem(409)),
        (GET, service_problem(409, f"{PROBLEM_TYPE}statement-failed", "50")),
        (GET, problem(500)),
        (GET, problem(404)),
    ],
)
def test_any_other_failure_is_raised_at_once(call: Call, error: UnlearningError) -> None:
    steps = send(call)
    advance(steps)
    with pytest.raises(type(error)):
        fail(steps, error)


def test_a_deleted_thing_is_gone_after_an_attempt_that_may_have_deleted_it() -> None:
    for lost, gone in ((no_answer(httpx.ReadError("lost")), True), (problem(503), True), (service_problem(503), False)):
        steps = send(DELETE)
        advance(steps)
        fail(steps, lost)
        advance(steps)
        if gone:
            assert isinstance(fail(steps, problem(404)), Result)
        else:
            with pytest.raises(NotFound):
                fail(steps, problem(404))


def test_each_creation_has_a_key_that_its_repetitions_share() -> None:
    first, second = create("/v1/jobs", {}, None), create("/v1/jobs", {}, None)
    assert first.headers["Idempotency-Key"] != second.headers["Idempotency-Key"]
    assert create("/v1/jobs", {}, "DSR-7").headers["Idempotency-Key"] == "DSR-7"


def test_pauses_double_up_to_the_longest_and_follow_the_services_wish() -> None:
    retries, lost = Retries(attempts=9, first_pause=1.0, longest_pause=10.0), NoAnswer("lost", sent=True)
    for failures, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (5, 10.0), (8, 10.0)):
        assert longest / 2 <= retries.pause(failures, lost) <= longest
    assert retries.pause(1, problem(503, retry_after="7")) == 7.0
    with pytest.raises(NoAnswer):
        retries.pause(9, lost)
    with pytest.raises(RateLimited):
        retries.pause(1, problem(429, retry_after="11"))


def test_a_date_to_retry_after_is_understood() -> None:
    at = problem(503, retry_after="Fri, 31 Dec 2999 23:59:59 GMT").retry_after
    assert at is not None
    assert at > 1e9
    assert problem(503, retry_after="soon").retry_after is None


def test_a_proxys_answer_without_a_document_is_an_error_all_the_same() -> None:
    error = service_error(httpx.Response(502, text="<html>Bad Gateway</html>"))
    assert (type(error), error.problem, str(error)) == (Unavailable, "", "502: Bad Gateway")
    listed = service_error(httpx.Response(409, json=["no document"]))
    assert (type(listed), listed.errors) == (Conflict, [])
