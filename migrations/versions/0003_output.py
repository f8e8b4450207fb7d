"""The contents of a job's checkpoint: the whole model, or an adapter."""

import sqlalchemy as sa
from alembic import op

revision = "0003_output"
down_revision = "0002_estimates"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("output", sa.String(16), server_default=sa.text("'full'"), nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "output")
