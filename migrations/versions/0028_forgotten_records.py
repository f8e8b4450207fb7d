"""Keyed digests of the records that a job made a model forget: they keep the text out of later jobs' training."""

import sqlalchemy as sa
from alembic import op

revision = "0028_forgotten_records"
down_revision = "0027_signing_retries"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forgotten_records",
        sa.Column("job", sa.String(64), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job", name="pk_forgotten_records"),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name="fk_forgotten_records_job_jobs", ondelete="CASCADE"),
    )


def downgrade() -> None:
    op.drop_table("forgotten_records")
