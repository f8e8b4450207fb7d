"""When a job's request came in, and the extensions of its deadline. Unfinished jobs get the default deadline."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0014_deadlines"
down_revision = "0013_throughput"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("received_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE jobs SET received_at = created_at")
    op.alter_column("jobs", "received_at", nullable=False, server_default=sa.text("clock_timestamp()"))
    op.add_column("jobs", sa.Column("extensions", JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False))
    op.execute("""
        UPDATE jobs SET due = (created_at AT TIME ZONE 'UTC')::date + interval '1 month'
        WHERE due IS NULL AND kind = 'unlearn' AND status IN ('queued', 'running', 'paused')
    """)
    due = {"postgresql_where": sa.text("due IS NOT NULL")}
    op.create_index("ix_jobs_organisation_due_id", "jobs", ["organisation", "due", "id"], **due)
    counts = sa.text("due IS NOT NULL AND status IN ('queued', 'running', 'paused', 'failed')")
    op.create_index(
        "ix_jobs_unfulfilled_organisation_due_id", "jobs", ["organisation", "due", "id"], postgresql_where=counts
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_unfulfilled_organisation_due_id", "jobs")
    op.drop_index("ix_jobs_organisation_due_id", "jobs")
    op.drop_column("jobs", "extensions")
    op.drop_column("jobs", "received_at")
