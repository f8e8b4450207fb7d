"""Files of a job that only train, beside files that are pinned to its model and only measure."""

import sqlalchemy as sa
from alembic import op

revision = "0006_parts"
down_revision = "0005_measuring"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job_files", sa.Column("part", sa.String(16), nullable=True))


def downgrade() -> None:
    op.drop_column("job_files", "part")
