"""The signer's public keys, and the signed heads of audit logs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016_signing"
down_revision = "0015_audit"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("not_before", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("not_after", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("revocation_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_signing_keys"),
    )
    op.create_index(
        "uq_signing_keys_active",
        "signing_keys",
        ["purpose"],
        unique=True,
        postgresql_where=sa.text("not_after IS NULL"),
    )
    op.create_table(
        "signed_heads",
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("envelope", JSONB(), nullable=False),
        sa.Column("signed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("organisation", "seq", "key", name="pk_signed_heads"),
        sa.ForeignKeyConstraint(
            ["organisation"], ["organisations.id"], name="fk_signed_heads_organisation_organisations"
        ),
        sa.ForeignKeyConstraint(["key"], ["signing_keys.id"], name="fk_signed_heads_key_signing_keys"),
    )


def downgrade() -> None:
    op.drop_table("signed_heads")
    op.drop_table("signing_keys")
