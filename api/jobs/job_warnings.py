"""Warnings that a submitted job carries: what its submitter should know before it starts."""

from collections.abc import Sequence
from typing import Any

from core.evaluation.policy.requirements import choice_name
from core.records.jobs import FileUse
from core.records.tables import FileRow, ModelRow
from core.schema.evaluation import MeasurementChoice
from core.schema.jobs import JobRequest, JobWarning
from core.schema.policies import Policy
from core.unlearning.method import Method


def warning(code: str, message: str) -> dict[str, Any]:
    """Returns a warning as the job's row stores it."""
    return JobWarning(code=code, message=message).model_dump()


def missing_data_warnings(method: Method, missing_sets: Sequence[str]) -> list[dict[str, Any]]:
    """Warns that a dry run does without sets in whose place a job by the method would make text of its own."""
    if not missing_sets:
        return []
    message = (
        f"neither the request nor the model has a set of the name {' or '.join(missing_sets)}: this dry run does"
        f" without, and a job by the method '{method.name}' would make text of its own in its place"
    )
    return [warning("missing_data", message)]


def added_measurement_warnings(added: Sequence[str | MeasurementChoice], policy: Policy) -> list[dict[str, Any]]:
    """Warns that the policy needs more measurements, and so more time, than the request chose."""
    if not added:
        return []
    names = ", ".join(f"'{choice_name(choice)}'" for choice in added)
    message = f"there is no verdict by the policy '{policy.name}' without {names}: measured too"
    return [warning("measurements_added", message)]


def release_warnings(model: ModelRow) -> list[dict[str, Any]]:
    """Warns that the model's checkpoints need nobody's acceptance."""
    if model.release != "always":
        return []
    message = "the model has release 'always': the checkpoint is handed out whatever its verdict, even where it failed"
    return [warning("released_whatever_the_verdict", message)]


def output_warnings(request: JobRequest) -> list[dict[str, Any]]:
    """Warns that an adapter on the model's head does not become the next head."""
    if request.output != "adapter" or request.start != "head":
        return []
    message = "an adapter does not become the model's head: later jobs start without what this one did"
    return [warning("adapter_is_no_head", message)]


def set_size_warnings(uses: Sequence[FileUse], rows: dict[str, FileRow]) -> list[dict[str, Any]]:
    """Warns that the retain sets are smaller than the forget set."""
    forget = sum(rows[use.file].records for use in uses if use.name == "forget")
    retain = sum(rows[use.file].records for use in uses if use.name == "retain")
    if not 0 < retain < forget:
        return []
    message = f"the retain sets hold {retain} records, fewer than the {forget} to forget: they are gone through again"
    return [warning("retain_smaller_than_forget", message)]
