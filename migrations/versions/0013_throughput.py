"""The throughput that a worker has measured of its devices, for estimates of a job's seconds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013_throughput"
down_revision = "0012_status_changes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("throughput", JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "throughput")
