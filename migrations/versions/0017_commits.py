"""An index on the checkpoints' commits, by which the Hub's clients ask for them."""

import sqlalchemy as sa
from alembic import op

revision = "0017_commits"
down_revision = "0016_signing"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_checkpoints_commit", "checkpoints", ["organisation", sa.text("left(digest, 40)")])


def downgrade() -> None:
    op.drop_index("ix_checkpoints_commit", "checkpoints")
