"""Jobs that only measure, and models retrained without the forget set to compare with."""

import sqlalchemy as sa
from alembic import op

revision = "0005_measuring"
down_revision = "0004_policies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("reference_model", sa.String(96), nullable=True))
    op.add_column("jobs", sa.Column("preset", sa.String(16), nullable=True))
    op.create_index(
        "ix_jobs_measurements", "jobs", ["organisation", "id"], postgresql_where=sa.text("kind = 'measure'")
    )
    op.create_index(
        "ix_jobs_reference_model",
        "jobs",
        ["organisation", "reference_model"],
        postgresql_where=sa.text("reference_model IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_reference_model", "jobs")
    op.drop_index("ix_jobs_measurements", "jobs")
    op.drop_column("jobs", "preset")
    op.drop_column("jobs", "reference_model")
