"""Jobs whose statement failed wait before the signer's next try."""

import sqlalchemy as sa
from alembic import op

revision = "0027_signing_retries"
down_revision = "0026_shared_runs"
branch_labels = None
depends_on = None

NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    op.add_column("signing_requests", sa.Column("tries", sa.Integer(), server_default="0", nullable=False))
    next_try = sa.Column("next_try_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False)
    op.add_column("signing_requests", next_try)
    op.create_index("ix_signing_requests_next_try", "signing_requests", ["next_try_at", "id"])
    op.create_index("ix_signing_requests_job", "signing_requests", ["job"])


def downgrade() -> None:
    op.drop_index("ix_signing_requests_job", "signing_requests")
    op.drop_index("ix_signing_requests_next_try", "signing_requests")
    op.drop_column("signing_requests", "next_try_at")
    op.drop_column("signing_requests", "tries")
