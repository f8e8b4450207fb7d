"""An index on the checkpoints' commits, by which the Hub's clients ask for them."""

import sqlalchemy as sa
from alembic import op

<<<<<<<< HEAD:migrations/versions/0016_commits.py
revision = "0016_commits"
down_revision = "0015_audit"
========
revision = "0015_commits"
down_revision = "0014_deadlines"
>>>>>>>> 1a22054 (Number the migration of the commits' index after the deadlines):migrations/versions/0015_commits.py
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_checkpoints_commit", "checkpoints", ["organisation", sa.text("left(digest, 40)")])


def downgrade() -> None:
    op.drop_index("ix_checkpoints_commit", "checkpoints")
