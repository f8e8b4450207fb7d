"""Answers that a service has given, beside those that its OpenAPI document declares."""

import re

import httpx

ANSWERED = re.compile(r'unlearning_http_requests_total\{method="(\w+)",route="([^"]+)",status="(\d+)"\} .*')


async def undeclared_answers(url: str) -> list[str]:
    """Returns the answers to the service's operations so far whose status the document does not have.

    Requests whose client hung up before the answer are counted under the status 0.
    """
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        lines = (await client.get("/metrics")).text.splitlines()
    given = [answer.groups() for answer in map(ANSWERED.fullmatch, lines) if answer is not None]
    assert given, "the metrics have another form"
    return [
        f"{method} {route}: {status}"
        for method, route, status in given
        if status != "0"
        and method.lower() in paths.get(route, {})
        and status not in paths[route][method.lower()]["responses"]
    ]
