"""The number of tokens that a model was trained on, where its registration says so."""

import sqlalchemy as sa
from alembic import op

revision = "0007_training_tokens"
down_revision = "0006_parts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("models", sa.Column("training_tokens", sa.BigInteger, nullable=True))


def downgrade() -> None:
    op.drop_column("models", "training_tokens")
