"""The service's role adds to the audit log and can do nothing else to it; the signer's role alone writes signatures."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from core.embedded import Stack
from core.records import audit, roles
from core.records.engine import make_engine
from tests.integration.records.scene import Scene
from tests.servers import execute, new_database


@dataclass
class Database:
    """A prepared database, as each of its three roles sees it."""

    owner: AsyncEngine
    service: AsyncEngine
    signer: AsyncEngine


def in_database(url: str, database: str) -> str:
    return make_url(url).set(database=make_url(database).database).render_as_string(hide_password=False)


@pytest_asyncio.fixture
async def database(stack: Stack) -> AsyncIterator[Database]:
    async with new_database(stack) as owner:
        urls = [in_database(url, owner) for url in (stack.service_url, stack.signer_url)]
        for _ in range(2):  # every start prepares it
            await roles.prepare(owner, service_url=urls[0], signer_url=urls[1])
        engines = [make_engine(url) for url in (owner, *urls)]
        yield Database(*engines)
        for engine in engines:
            await engine.dispose()


async def refusal(engine: AsyncEngine, statement: str) -> str | None:
    """Returns the SQLSTATE that the server answers; None: it did it."""
    try:
        async with engine.begin() as connection:
            await connection.execute(text(statement))
    except DBAPIError as error:
        return str(getattr(error.orig, "sqlstate", None))
    return None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET action = 'x'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "ALTER TABLE audit DISABLE TRIGGER tr_audit_append_only",
        "DROP TRIGGER tr_audit_append_only ON audit",
        "DROP TABLE audit",
        "DROP SCHEMA public CASCADE",
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica",
        "SET ROLE unlearn",
        "INSERT INTO signing_keys (id, purpose, public_key) VALUES ('x', 'evidence', 'x')",
        "UPDATE signing_keys SET revoked_at = NULL",
        "DELETE FROM signed_heads",
        "UPDATE alembic_version SET version_num = 'x'",
    ],
)
async def test_the_services_role_cannot_change_evidence(database: Database, statement: str) -> None:
    scene = await Scene(database.service).create()
    async with scene.sessions.begin() as session:
        await audit.append(session, scene.organisation, scene.key, "tested", "kept", {})
    assert await refusal(database.service, statement) == "42501", "insufficient_privilege"
    async with scene.sessions() as session:
        assert (await audit.head(session, scene.organisation)).seq == 1


async def test_the_services_role_can_do_the_services_work(database: Database) -> None:
    scene = await Scene(database.service).create()
    await scene.model()
    job = await scene.job()
    assert (await scene.row(job)).status == "queued"
    assert await refusal(database.service, "DELETE FROM outbox") is None
    assert await refusal(database.service, "UPDATE organisations SET name = name") is None


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("INSERT INTO signing_keys (id, purpose, public_key) VALUES ('x', 'evidence', 'x')", None),
        ("UPDATE signing_keys SET revoked_at = clock_timestamp()", None),
        ("SELECT 1 FROM audit", None),
        ("UPDATE jobs SET verdict = 'passed'", "42501"),
        ("DELETE FROM audit", "42501"),
        ("INSERT INTO organisations (id, name) VALUES ('x', 'x')", "42501"),
        ("DELETE FROM signing_keys", "42501"),
        ("DELETE FROM signed_heads", "42501"),
    ],
)
async def test_the_signers_role_writes_keys_and_signatures_only(
    database: Database, statement: str, state: str | None
) -> None:
    assert await refusal(database.signer, statement) == state


async def test_missing_roles_are_made_with_the_passwords_of_their_urls(stack: Stack) -> None:
    async with new_database(stack) as owner:
        superuser = in_database(stack.superuser_url, owner)
        urls = [make_url(owner).set(username=f"made_{name}", password="pass'word") for name in ("service", "signer")]
        service, signer = (url.render_as_string(hide_password=False) for url in urls)
        await roles.prepare(superuser, service_url=service, signer_url=signer)
        try:
            for url in (service, signer):
                engine = make_engine(url)
                assert await refusal(engine, "SELECT 1 FROM audit") is None
                await engine.dispose()
        finally:
            await execute(superuser, *(f"DROP OWNED BY {url.username}" for url in urls))
            await execute(superuser, *(f"DROP ROLE {url.username}" for url in urls))


async def test_one_role_for_all_owns_the_tables(stack: Stack) -> None:
    async with new_database(stack) as owner:
        await roles.prepare(owner, service_url=owner, signer_url=owner)
        engine = make_engine(owner)
        assert await refusal(engine, "UPDATE signing_keys SET purpose = purpose") is None
        assert await refusal(engine, "DELETE FROM audit") == "42501", "the trigger's"
        await engine.dispose()
