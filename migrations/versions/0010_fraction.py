"""The share of the whole job that is done, measuring included."""

import sqlalchemy as sa
from alembic import op

revision = "0010_fraction"
down_revision = "0009_counted"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("fraction", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "fraction")
