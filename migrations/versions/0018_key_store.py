"""Wrapped keys of files may lie in the key store instead of the table."""

from alembic import op

revision = "0018_key_store"
down_revision = "0017_commits"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("files", "wrapped_key", nullable=True)


def downgrade() -> None:
    # files whose keys lie in the key store cannot be read by the version before: they are as if deleted
    op.execute("DELETE FROM files WHERE wrapped_key IS NULL")
    op.alter_column("files", "wrapped_key", nullable=False)
