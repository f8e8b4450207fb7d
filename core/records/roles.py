"""The database's roles: who owns the tables, who serves, and who signs.

The service's role can add entries to the audit log, but neither change nor delete one, and cannot take the triggers
off: only the owner could, and neither API nor worker knows the owner's password. Nothing but the signer's role can
write public keys and signatures.
"""

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from core.records.engine import make_engine
from core.records.migrate import LOCK, upgrade

SIGNED = ("signing_keys", "signed_heads", "statements")
"""Tables that the signer alone writes."""
UNCHANGEABLE = ("alembic_version", *SIGNED)
APPEND_ONLY = ("audit",)


async def prepare(owner_url: str, *, service_url: str, signer_url: str) -> None:
    """Brings the database up to date, and gives the two roles what they need. Repeating it does no harm.

    A role that does not exist is made, with the password of its URL. Where a URL names the owner itself, that role owns
    the tables and may do everything.
    """
    await upgrade(owner_url)
    owner = make_url(owner_url).username
    engine = make_engine(owner_url)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            for url, grant in ((service_url, _grant_service), (signer_url, _grant_signer)):
                role = make_url(url).username
                if role is not None and role != owner:
                    await _make_role(connection, role, str(make_url(url).password or ""))
                    quoted = await connection.scalar(text("SELECT quote_ident(:role)"), {"role": role})
                    for statement in grant(str(quoted)):
                        await connection.execute(text(statement))
    finally:
        await engine.dispose()


def _grant_service(role: str) -> list[str]:
    return [
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        f"REVOKE UPDATE, DELETE ON {', '.join(APPEND_ONLY)} FROM {role}",
        f"REVOKE INSERT, UPDATE, DELETE ON {', '.join(UNCHANGEABLE)} FROM {role}",
    ]


def _grant_signer(role: str) -> list[str]:
    return [
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT INSERT, UPDATE ON {', '.join(SIGNED)} TO {role}",
        f"GRANT INSERT, UPDATE, DELETE ON signing_requests, statements TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    ]


async def _make_role(connection: AsyncConnection, role: str, password: str) -> None:
    exists = await connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role})
    if exists is None:
        # a role's statement takes no parameters: the server itself quotes name and password
        create = text("SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', CAST(:role AS text), CAST(:password AS text))")
        statement = await connection.scalar(create, {"role": role, "password": password})
        await connection.exec_driver_sql(str(statement))
