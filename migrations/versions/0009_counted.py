"""Indexes that count paused jobs and checkpoints that wait for a release, however many rows the tables have."""

import sqlalchemy as sa
from alembic import op

revision = "0009_counted"
down_revision = "0008_understood"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_jobs_paused", "jobs", ["id"], postgresql_where=sa.text("status = 'paused'"))
    op.create_index("ix_checkpoints_waiting", "checkpoints", ["id"], postgresql_where=sa.text("NOT released"))


def downgrade() -> None:
    op.drop_index("ix_checkpoints_waiting", "checkpoints")
    op.drop_index("ix_jobs_paused", "jobs")
