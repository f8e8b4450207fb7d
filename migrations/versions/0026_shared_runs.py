"""Runs that several jobs share: the jobs that may share one, and the job whose run a job shares."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0026_shared_runs"
down_revision = "0025_cancel_failed_jobs"
branch_labels = None
depends_on = None

RUNNING = "status = 'running' AND start = 'head'"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("requested_training", JSONB(), nullable=True))
    op.add_column("jobs", sa.Column("combine_key", sa.String(64), nullable=True))
    op.add_column("jobs", sa.Column("shared_run", sa.String(64), nullable=True))
    op.create_index(
        "ix_jobs_combinable",
        "jobs",
        ["organisation", "model", "combine_key", "id"],
        postgresql_where=sa.text("status = 'queued' AND combine_key IS NOT NULL"),
    )
    op.create_index("ix_jobs_shared_run", "jobs", ["shared_run"], postgresql_where=sa.text("shared_run IS NOT NULL"))
    op.create_index("ix_checkpoints_prefix", "checkpoints", ["prefix"])
    op.drop_index("uq_jobs_running_from_head", "jobs")
    op.create_index(
        "uq_jobs_running_from_head",
        "jobs",
        ["organisation", "model"],
        unique=True,
        postgresql_where=sa.text(f"{RUNNING} AND (shared_run IS NULL OR shared_run = id)"),
    )


def downgrade() -> None:
    op.drop_index("uq_jobs_running_from_head", "jobs")
    op.create_index(
        "uq_jobs_running_from_head", "jobs", ["organisation", "model"], unique=True, postgresql_where=sa.text(RUNNING)
    )
    op.drop_index("ix_checkpoints_prefix", "checkpoints")
    op.drop_index("ix_jobs_shared_run", "jobs")
    op.drop_index("ix_jobs_combinable", "jobs")
    for column in ("shared_run", "combine_key", "requested_training"):
        op.drop_column("jobs", column)
