"""The child's spec is one of three kinds of jobs, each with the fields that it needs and no others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.schema.job_spec import JOB_SPEC, JobSpec, MeasureSpec, PreviewSpec, UnlearnSpec

PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
(EXAMPLE,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
UNLEARN: dict[str, Any] = json.loads(EXAMPLE)
COMMON = {name: value for name, value in UNLEARN.items() if name not in ("method", "output")}


def parse(fields: dict[str, Any]) -> JobSpec:
    return JOB_SPEC.validate_json(json.dumps(fields))


def refusal(fields: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        parse(fields)
    return str(caught.value)


@pytest.mark.parametrize("kind", [{}, {"kind": "unlearn"}])
def test_the_documented_example_is_a_job_that_unlearns_with_its_kind_or_without(kind: dict[str, str]) -> None:
    spec = parse(UNLEARN | kind)
    assert isinstance(spec, UnlearnSpec)
    assert (spec.kind, spec.method.name) == ("unlearn", "calibrated")


@pytest.mark.parametrize(("kind", "spec"), [("preview", PreviewSpec), ("measure", MeasureSpec)])
def test_jobs_that_change_nothing_have_neither_method_nor_output(kind: str, spec: type) -> None:
    assert type(parse(COMMON | {"kind": kind})) is spec
    assert "method" in refusal(COMMON | {"kind": kind, "method": UNLEARN["method"]})
    assert "output" in refusal(COMMON | {"kind": kind, "output": "/a"})


def test_a_job_that_unlearns_names_its_method() -> None:
    assert "method" in refusal(COMMON | {"output": "/a"})


@pytest.mark.parametrize("fields", [COMMON | {"kind": "Zubrimoth"}, COMMON | {"kind": None}])
def test_an_unknown_kind_is_refused_with_the_known_ones_and_never_quoted(fields: dict[str, Any]) -> None:
    message = refusal(fields)
    assert "unlearn (the default), preview, measure" in message
    assert "Zubrimoth" not in message


@pytest.mark.parametrize("fields", [UNLEARN, COMMON | {"kind": "preview"}, COMMON | {"kind": "measure"}])
def test_a_spec_is_read_as_it_was_written(fields: dict[str, Any]) -> None:
    spec = parse(fields)
    assert JOB_SPEC.validate_json(spec.model_dump_json()) == spec
    assert '"kind"' in spec.model_dump_json()


def test_a_job_of_another_kind_takes_over_the_common_fields() -> None:
    spec = parse(UNLEARN)
    measured = MeasureSpec.from_spec(spec, base=Path("/base"))
    assert (measured.kind, measured.directory, measured.training) == ("measure", spec.directory, spec.training)
    assert measured.base == Path("/base")


def test_an_adapter_is_measured_on_its_base() -> None:
    delivered = parse(UNLEARN | {"deliver": "adapter"})
    assert delivered.adapter_base(Path(UNLEARN["output"])) == Path(UNLEARN["directory"])
    assert delivered.adapter_base(Path(UNLEARN["directory"])) is None
    assert parse(UNLEARN).adapter_base(Path(UNLEARN["output"])) is None
    measured = parse(COMMON | {"kind": "measure", "base": "/base"})
    assert measured.adapter_base(Path(UNLEARN["directory"])) == measured.model_directory == Path("/base")
    assert measured.adapter_base(Path("/other")) is None


def test_the_models_to_compare_with_are_those_that_the_kind_of_job_has() -> None:
    assert parse(UNLEARN).compared_models == []
    measured = MeasureSpec.from_spec(parse(UNLEARN), original=Path("/original"), retrained=Path("/retrained"))
    assert measured.compared_models == [Path("/retrained"), Path("/original")]


@pytest.mark.parametrize(("ranks", "processes"), [({}, 1), ({"ranks": 3}, 3)])
def test_a_job_that_unlearns_is_shared_by_as_many_processes_as_it_has_ranks(
    ranks: dict[str, int], processes: int
) -> None:
    assert parse(UNLEARN | ranks).processes == processes
    assert parse(COMMON | {"kind": "measure"}).processes == 1
