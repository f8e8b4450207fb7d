"""Estimates of jobs: the expected time and memory."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002_estimates"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("estimate", JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "estimate")
