"""Indexes for the lineage of a model: its checkpoints, and the jobs that started from a checkpoint."""

import sqlalchemy as sa
from alembic import op

revision = "0021_lineage"
down_revision = "0020_webhooks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_checkpoints_organisation_model_id", "checkpoints", ["organisation", "model", "id"])
    op.create_index(
        "ix_jobs_start_checkpoint",
        "jobs",
        ["start_checkpoint"],
        postgresql_where=sa.text("start_checkpoint IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_start_checkpoint", "jobs")
    op.drop_index("ix_checkpoints_organisation_model_id", "checkpoints")
