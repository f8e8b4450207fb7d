"""Figures of single records to forget, which later jobs on the same model compare theirs with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0024_kept_figures"
down_revision = "0023_snapshot_keys"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("measurements", sa.Column("kept", JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("measurements", "kept")
