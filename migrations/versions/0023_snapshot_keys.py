"""The key of a job's snapshots, where no key store holds it."""

import sqlalchemy as sa
from alembic import op

revision = "0023_snapshot_keys"
down_revision = "0022_statements"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("snapshot_key", sa.LargeBinary()))


def downgrade() -> None:
    op.drop_column("jobs", "snapshot_key")
