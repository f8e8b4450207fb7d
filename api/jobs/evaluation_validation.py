"""Checks of the measurements and the policy that a request chooses, against the catalogue and the model's policy."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.http.field_errors import invalid_parameters
from api.http.problems import unprocessable
from core.evaluation.measurement import Measurement
from core.evaluation.measurements import MEASUREMENTS, UnknownMeasurement, resolve_measurements
from core.evaluation.policy import preview
from core.evaluation.policy.requirements import (
    choice_name,
    required_measurements,
    unmet_requirements,
    weaker_parameters,
)
from core.records import policies
from core.records.tables import ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.evaluation import MeasurementChoice
from core.schema.jobs import EvaluationRequest
from core.schema.policies import Bounds, Policy, PolicyLoosened
from core.schema.verdict_parts import Requires

POLICY_POINTER = "/evaluation/policy"


def check_measurements(
    choices: Sequence[str | MeasurementChoice], *, pointer: tuple[str, ...] = ("evaluation", "measure")
) -> list[Any]:
    """Returns the choices as the job's row stores them; `pointer` is their place in the request.

    Problem (422): a measurement is unknown, or a parameter of it is wrong.
    """
    for number, choice in enumerate(choices):
        try:
            resolve_measurements([choice])
        except UnknownMeasurement as error:
            raise unprocessable(f"/{'/'.join(pointer)}/{number}", error.detail, name=error.problem) from None
        except ValidationError as error:
            parameters = {} if isinstance(choice, str) else choice.parameters
            raise invalid_parameters(error, parameters, (*pointer, number)) from None
    return [choice if isinstance(choice, str) else choice.model_dump(mode="json") for choice in choices]


def load_measurements(stored: Sequence[Any]) -> list[Measurement]:
    """Returns the measurements that a job's row stores as choices."""
    return resolve_measurements(
        [choice if isinstance(choice, str) else MeasurementChoice.model_validate(choice) for choice in stored]
    )


def dry_run_measurements(request: EvaluationRequest) -> list[Any]:
    """Returns the measurements of a dry run: those that its conclusion needs, and those that the request names.

    The needed ones use smaller samples than in a job, unless the request names them with parameters. Problem (422):
    the request names a measurement that only a changed model has, or weakens a needed one.
    """
    requested = request.measure if "measure" in request.model_fields_set else []
    budgets = {measurement.name: measurement for measurement in resolve_measurements(preview.measurement_choices())}
    for number, choice in enumerate(requested):
        pointer = f"/evaluation/measure/{number}"
        name = choice_name(choice)
        if name in MEASUREMENTS and "before" not in MEASUREMENTS[name].moments:
            detail = f"'{name}' is measured of a changed model, and a dry run changes nothing"
            raise unprocessable(pointer, detail, name="not-in-a-dry-run")
        if name in budgets and (weakened := weaker_parameters(resolve_measurements([choice])[0], budgets[name])):
            detail = f"a dry run goes by '{name}', which would show less than by its own choice"
            raise unprocessable(f"{pointer}/{weakened[0]}", detail, name="measurement-loosened")
    requested_names = {choice_name(choice) for choice in requested}
    needed_choices = [choice for choice in preview.measurement_choices() if choice_name(choice) not in requested_names]
    return check_measurements([*needed_choices, *requested])


def missing_measurements(
    request: EvaluationRequest, policy: Policy, *, retrained: bool
) -> list[str | MeasurementChoice]:
    """Returns the measurements that the policy needs and the request lacks.

    `retrained`: the job has a retrained model. Problem (422): the request names a needed measurement with parameters
    that weaken it.
    """
    needed_names = {choice_name(choice) for choice in required_measurements(policy, retrained=retrained)}
    for number, choice in enumerate(request.measure):
        if isinstance(choice, MeasurementChoice) and choice.name in needed_names:
            for parameter in weaker_parameters(resolve_measurements([choice])[0]):
                detail = f"the policy '{policy.name}' goes by '{choice.name}', which would show less than by default"
                pointer = f"/evaluation/measure/{number}/{parameter}"
                raise unprocessable(pointer, detail, name="measurement-loosened")
    return unmet_requirements(resolve_measurements(request.measure), policy, retrained=retrained)


def _same_policy(stored: Policy, requested: Bounds) -> bool:
    """Whether the requested bounds equal the stored policy; a request without `requires` means the defaults."""
    requires = requested.requires or Requires()
    return stored.model_dump() == {**requested.model_dump(), "requires": requires.model_dump()}


async def resolve_policy(session: AsyncSession, model: ModelRow, requested: str | Bounds | None) -> Policy:
    """Returns the policy of the job: the model's own, tightened by the requested one.

    Problem (422): there is no such policy, or it is weaker than the model's policy.
    """
    name = model.policy or DEFAULT_POLICY.name
    model_policy = await policies.resolve(session, model.organisation, name)
    if model_policy is None:  # cannot happen: a foreign key keeps the policy as long as a model has it
        raise LookupError(name)
    if requested is None or requested == name:
        return model_policy
    requested_name = requested if isinstance(requested, str) else requested.name
    stored = await policies.resolve(session, model.organisation, requested_name)
    if isinstance(requested, str):
        if stored is None:
            raise unprocessable(POLICY_POINTER, f"there is no policy '{requested_name}'", name="unknown-policy")
        requested = stored
    elif stored is not None and not _same_policy(stored, requested):
        detail = f"'{requested_name}' is the name of another policy"
        raise unprocessable(f"{POLICY_POINTER}/name", detail, name="name-taken")
    try:
        return model_policy.tightened(requested)
    except PolicyLoosened as error:
        detail = f"the model's policy '{model_policy.name}' may be tightened, not loosened: {error}"
        raise unprocessable(POLICY_POINTER, detail, name="policy-loosened") from None
