"""An operator's policies: stored by name, pinned to models, and never changed, so that a name has one meaning."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import audit
from core.records.tables import ModelRow, PolicyRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.errors import DomainError, Identifier
from core.schema.policies import Policy

BUILT_IN: dict[str, Policy] = {DEFAULT_POLICY.name: DEFAULT_POLICY}
"""Policies that come with the service, for every organisation."""


class PolicyInUse(DomainError):
    """A model has the policy pinned."""

    status, problem = 409, "in-use"

    def __init__(self, model: Identifier) -> None:
        self.detail = f"the policy is pinned to the model {model}: delete that registration first"
        super().__init__()


async def add(
    session: AsyncSession, organisation: str, name: str, policy: dict[str, Any], *, key: str
) -> PolicyRow | None:
    """Stores the policy; None where the name is taken. Writes the whole policy to the audit log."""
    values = {"organisation": organisation, "name": name, "policy": policy, "key": key}
    query = insert(PolicyRow).values(values).on_conflict_do_nothing().returning(PolicyRow)
    row = await session.scalar(query)
    if row is not None:
        details = {"policy": json.dumps(policy, sort_keys=True, ensure_ascii=False)}
        await audit.append(session, organisation, key, "policy.added", name, details)
    return row


async def get(session: AsyncSession, organisation: str, name: str, *, lock: bool = False) -> PolicyRow | None:
    """The policy; with `lock`, it cannot be deleted until the transaction ends."""
    query = select(PolicyRow).where(PolicyRow.organisation == organisation, PolicyRow.name == name)
    return await session.scalar(query.with_for_update(read=True) if lock else query)


async def page(
    session: AsyncSession, organisation: str, *, limit: int, after: str | None = None
) -> Sequence[PolicyRow]:
    """Policies by name, in the order of code points."""
    name = PolicyRow.name.collate("C")
    query = select(PolicyRow).where(PolicyRow.organisation == organisation)
    if after is not None:
        query = query.where(name > after)
    return (await session.scalars(query.order_by(name).limit(limit))).all()


async def remove(session: AsyncSession, organisation: str, name: str, *, key: str) -> bool:
    """Deletes the policy; jobs keep the copy that they were submitted with. PolicyInUse: a model has it pinned."""
    query = select(PolicyRow).where(PolicyRow.organisation == organisation, PolicyRow.name == name)
    if await session.scalar(query.with_for_update()) is None:
        return False
    pinned = select(ModelRow.id).where(ModelRow.organisation == organisation, ModelRow.policy == name)
    if model := await session.scalar(pinned.order_by(ModelRow.id).limit(1)):
        raise PolicyInUse(model)
    await session.execute(delete(PolicyRow).where(PolicyRow.organisation == organisation, PolicyRow.name == name))
    await audit.append(session, organisation, key, "policy.deleted", name, {})
    return True


async def resolve(session: AsyncSession, organisation: str, name: str, *, lock: bool = False) -> Policy | None:
    """The policy of this name, the built-in one included; `lock` as in `get`."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    row = await get(session, organisation, name, lock=lock)
    return None if row is None else Policy.model_validate(row.policy)
