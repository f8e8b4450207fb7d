"""Answers of the service as the types of its own schema."""

from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from api.client.call import Call
from api.client.deadline import NEVER, Deadline
from api.client.errors import UnexpectedAnswer
from api.client.part_file import whole_file
from api.client.steps import Steps, Work, send

M = TypeVar("M", bound=BaseModel)


def ask(call: Call, form: type[M], deadline: Deadline = NEVER) -> Steps[M]:
    """Sends the call and returns its answer as a model of the schema."""
    return parse((yield from send(call, deadline)), form)


def finish(call: Call) -> Steps[None]:
    """Sends the call, whose answer has no body."""
    yield from send(call)


def save(call: Call, file: Path) -> Steps[Path]:
    """Sends the call and writes the body of its answer to the file, whole or not at all."""
    answer = yield from send(call)
    with whole_file(file) as part:
        yield Work(lambda: part.write_bytes(answer.content))
    return file


def parse(answer: httpx.Response, form: type[M]) -> M:
    """Returns the answer's body as a model. A newer service may add fields, which are let through.

    Raises UnexpectedAnswer.
    """
    try:
        return form.model_validate_json(answer.content, extra="allow")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = "/".join(map(str, first["loc"]))
        raise UnexpectedAnswer(
            f"the service answered with a {form.__name__} of a form that this client does not know ({place}:"
            f" {first['msg']}): use the client of the service's version"
        ) from None
