"""Settings of a queued job that this version of the service has and the version that accepted the job had not."""

from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import progress
from core.records.tables import JobRow
from core.schema.training import Training
from core.unlearning.objectives import METHODS


async def fill_new_settings(session: AsyncSession, job: JobRow) -> None:
    """Writes into a claimed job's row the settings that it was accepted without, and warns of them.

    They have this version's defaults, and are named with their place, such as `training.lora.rank`. All others
    stay as the job was accepted with, whatever their defaults are now.
    Settings that this version refuses are left as they are: the attempt fails by them.
    """
    if job.kind not in ("unlearn", "preview") or job.method not in METHODS:
        return
    try:
        method = METHODS[job.method].model_validate(job.parameters).model_dump(mode="json")
        training = Training.model_validate(job.training).model_dump(mode="json")
    except ValidationError:
        return
    added = _added(method, job.parameters, "method") | _added(training, job.training, "training")
    if not added:
        return
    job.parameters, job.training = method, training
    await progress.add_warning(session, job.id, job.fence, "settings_added", _describe(added))


def _added(filled: dict[str, Any], accepted: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns the settings of `filled` that `accepted` has not, those within other settings too, by their place."""
    added = {}
    for name, value in filled.items():
        if name not in accepted:
            added[f"{place}.{name}"] = value
        elif isinstance(value, dict) and isinstance(accepted[name], dict):
            added |= _added(value, accepted[name], f"{place}.{name}")
    return added


def _describe(added: dict[str, Any]) -> str:
    named = ", ".join(f"{name} ({value})" for name, value in sorted(added.items()))
    return (
        "the job was accepted by an older version of the service, which did not have all settings of the version that"
        f" runs it. These have that version's defaults: {named}. All others are as the job was accepted with"
    )
