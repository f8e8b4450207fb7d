"""Policies by name: a name has one meaning as long as a model is held to it."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select

from core.records import models, policies
from core.records.policies import PolicyInUse
from core.records.tables import AuditRow, ModelRow
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.policies import Policy
from tests.integration.records.scene import Scene

HOUSE: dict[str, Any] = DEFAULT_POLICY.model_copy(update={"name": "house"}).model_dump(mode="json")


async def add(scene: Scene, policy: dict[str, Any] = HOUSE) -> bool:
    async with scene.sessions.begin() as session:
        key, name = scene.key, policy["name"]
        return await policies.add(session, scene.organisation, name, policy, key=key) is not None


async def test_a_name_is_taken_once_and_the_audit_log_holds_its_policy(scene: Scene) -> None:
    assert await add(scene)
    assert not await add(scene, HOUSE | {"description": "another"})
    async with scene.sessions.begin() as session:
        assert await policies.resolve(session, scene.organisation, "house") == Policy.model_validate(HOUSE)
        assert await policies.resolve(session, "org-other", "house") is None
        assert await policies.resolve(session, scene.organisation, "default") == DEFAULT_POLICY
        assert await policies.remove(session, scene.organisation, "house", key=scene.key)
        assert not await policies.remove(session, scene.organisation, "house", key=scene.key)
    async with scene.sessions() as session:
        query = select(AuditRow).where(AuditRow.organisation == scene.organisation, AuditRow.object == "house")
        added, deleted = list(await session.scalars(query.order_by(AuditRow.seq)))
    assert [(entry.action, entry.object, entry.key) for entry in (added, deleted)] == [
        ("policy.added", "house", scene.key),
        ("policy.deleted", "house", scene.key),
    ]
    assert json.loads(added.details["policy"]) == HOUSE


async def test_a_policy_that_is_being_pinned_is_not_deleted_meanwhile(scene: Scene) -> None:
    await add(scene)

    async def remove() -> bool:
        async with scene.sessions.begin() as session:
            return await policies.remove(session, scene.organisation, "house", key=scene.key)

    async with scene.sessions.begin() as session:
        assert await policies.resolve(session, scene.organisation, "house", lock=True) is not None
        removing = asyncio.create_task(remove())
        done, _ = await asyncio.wait({removing}, timeout=0.3)
        assert not done
        row = ModelRow(
            organisation=scene.organisation,
            id="pinned",
            source="a directory",
            dtype="float32",
            status="ready",
            defaults={},
            release="on_pass",
            policy="house",
        )
        await models.add(session, row)
    with pytest.raises(PolicyInUse, match="pinned"):
        await asyncio.wait_for(removing, 60)
