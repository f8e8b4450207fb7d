"""Validation errors of pydantic as JSON pointers into the request's body, without any of the input."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from api.http.problems import FieldError, Problem


def json_pointer(steps: Sequence[str | int]) -> str:
    """Returns a JSON pointer of these steps (RFC 6901, section 3)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def field_errors(
    errors: Sequence[Mapping[str, Any]], body: Any, prefix: tuple[str | int, ...] = ()
) -> list[FieldError]:
    """Returns pydantic's errors with pointers that resolve in `body`.

    Leaves out the input itself and the names of fields within records.
    """
    converted = []
    for error in errors:
        source, *steps = error["loc"] or ("body",)
        if source == "body":
            pointer = json_pointer((*prefix, *_steps_in(body, steps, error["type"])))
        else:
            pointer = str(steps[0] if steps else source)
        converted.append(FieldError(pointer=pointer, detail=_detail(error)))
    return converted


def invalid_parameters(error: ValidationError, parameters: Any, prefix: tuple[str | int, ...]) -> Problem:
    """Returns a 422 for parameters that were validated apart from the body, such as a method's.

    `prefix` is their place in the body.
    """
    errors = [
        {**field_error, "loc": ("body", *field_error["loc"])}
        for field_error in error.errors(include_input=False, include_url=False)
    ]
    return Problem(422, "invalid-request", None, field_errors(errors, parameters, prefix))


def _detail(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    return "this field is not known" if error["type"] == "extra_forbidden" else message


def _steps_in(body: Any, steps: Sequence[str | int], error_type: str) -> list[str | int]:
    """Returns the steps that exist in the body: pydantic's locations also name the members of unions."""
    value, existing = body, list[str | int]()
    for number, step in enumerate(steps):
        if isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif not (error_type == "missing" and isinstance(value, dict) and number == len(steps) - 1):
            continue
        existing.append(step)
        if existing[-2:-1] == ["records"]:  # the name of a record's unknown field may itself be forget data
            break
    return existing
