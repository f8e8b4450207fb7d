"""The interpretation of an uploaded file: how it was read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008_understood"
down_revision = "0007_training_tokens"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("files", sa.Column("understood", JSONB, nullable=True))


def downgrade() -> None:
    op.drop_column("files", "understood")
