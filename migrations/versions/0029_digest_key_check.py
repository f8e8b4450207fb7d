"""A check of the service key that made the digests of forgotten records, which match under that key alone."""

import sqlalchemy as sa
from alembic import op

revision = "0029_digest_key_check"
down_revision = "0028_forgotten_records"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("forgotten_records", sa.Column("key_check", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("forgotten_records", "key_check")
