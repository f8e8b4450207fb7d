"""Jobs that wait for the signer, and what it signed about them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0022_statements"
down_revision = "0021_lineage"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "signing_requests",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("created_at", TIME, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signing_requests"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_signing_requests_job_jobs", ondelete="CASCADE"),
    )
    op.create_table(
        "statements",
        sa.Column("id", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("envelope", JSONB(), nullable=False),
        sa.Column("model_key", sa.String(64), nullable=False),
        sa.Column("model_signature", JSONB(), nullable=False),
        sa.Column("signed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_statements"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_statements_job_jobs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["key"], ["signing_keys.id"], name="fk_statements_key_signing_keys"),
        sa.ForeignKeyConstraint(["model_key"], ["signing_keys.id"], name="fk_statements_model_key_signing_keys"),
    )
    op.create_index("ix_statements_job", "statements", ["job", "id"])
    # jobs that ended before there was a signer get a statement as well
    op.execute("INSERT INTO signing_requests (job) SELECT id FROM jobs WHERE checkpoint IS NOT NULL ORDER BY id")


def downgrade() -> None:
    op.drop_table("statements")
    op.drop_table("signing_requests")
