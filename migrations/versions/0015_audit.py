"""The audit log is append-only: triggers refuse changes, and indexes serve its filters."""

from alembic import op

revision = "0015_audit"
down_revision = "0014_deadlines"
branch_labels = None
depends_on = None

INDEXES = {"ix_audit_object": "object", "ix_audit_key": "key", "ix_audit_at": "at"}


def upgrade() -> None:
    for name, column in INDEXES.items():
        op.create_index(name, "audit", ["organisation", column, "seq"])
    op.execute("""
        CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege', TABLE = 'audit';
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER tr_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER tr_audit_append_only ON audit")
    op.execute("DROP FUNCTION refuse_audit_change()")
    for name in INDEXES:
        op.drop_index(name, "audit")
