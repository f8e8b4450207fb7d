from typing import Any

import pytest
from pydantic import ValidationError

from api.http.field_errors import field_errors, json_pointer
from core.schema.jobs import JobRequest


def pointers(body: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(body)
    errors = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]
    return [error.pointer for error in field_errors(errors, body)]


def test_pointers_resolve_in_the_body_that_was_sent() -> None:
    assert pointers({"model": 1, "forget": {"file": "a"}}) == ["/model"]
    assert pointers({"forget": {"file": "a"}}) == ["/model"]
    assert pointers({"model": "m", "forget": {"file": "a"}, "metadata": {"a/b~c": 1}}) == ["/metadata/a~1b~0c"]


def test_a_field_name_within_a_record_is_not_repeated() -> None:
    error_pointers = pointers({"model": "m", "forget": {"records": ["fine", {"text": "a", "somebody's name": 1}]}})
    assert set(error_pointers) == {"/forget/records/1"}


def test_a_pointer_is_escaped() -> None:
    assert json_pointer(["a/b", 0, "c~d"]) == "/a~1b/0/c~0d"
