"""Policies, judgements of jobs, releases of checkpoints, and the audit log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004_policies"
down_revision = "0003_output"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("policy", JSONB(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("created_at", INSTANT, server_default=NOW, nullable=False),
        sa.ForeignKeyConstraint(["key"], ["api_keys.id"], name="fk_policies_key_api_keys"),
        sa.ForeignKeyConstraint(["organisation"], ["organisations.id"], name="fk_policies_organisation_organisations"),
        sa.PrimaryKeyConstraint("organisation", "name", name="pk_policies"),
    )
    op.add_column("models", sa.Column("policy", sa.String(64), nullable=True))
    op.create_foreign_key(
        "fk_models_organisation_policy_policies",
        "models",
        "policies",
        ["organisation", "policy"],
        ["organisation", "name"],
    )
    op.add_column(
        "jobs", sa.Column("measure", JSONB(), server_default=sa.text("'[\"standard\"]'::jsonb"), nullable=False)
    )
    op.add_column("jobs", sa.Column("policy", JSONB(), nullable=True))
    op.add_column("jobs", sa.Column("judgement", JSONB(), nullable=True))
    op.add_column("checkpoints", sa.Column("released_by", sa.String(64), nullable=True))
    op.add_column("checkpoints", sa.Column("released_at", INSTANT, nullable=True))
    op.add_column("checkpoints", sa.Column("release_reason", sa.Text(), nullable=True))
    op.create_foreign_key("fk_checkpoints_released_by_api_keys", "checkpoints", "api_keys", ["released_by"], ["id"])
    op.create_table(
        "audit",
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("key", sa.String(64), nullable=True),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("object", sa.String(128), nullable=False),
        sa.Column("details", JSONB(), nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["organisation"], ["organisations.id"], name="fk_audit_organisation_organisations"),
        sa.PrimaryKeyConstraint("organisation", "seq", name="pk_audit"),
    )


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_constraint("fk_checkpoints_released_by_api_keys", "checkpoints")
    for name in ("release_reason", "released_at", "released_by"):
        op.drop_column("checkpoints", name)
    for name in ("judgement", "policy", "measure"):
        op.drop_column("jobs", name)
    op.drop_constraint("fk_models_organisation_policy_policies", "models")
    op.drop_column("models", "policy")
    op.drop_table("policies")
