"""A job's retrained model and its submitter's reference by their present names."""

from alembic import op

revision = "0011_retrained_model"
down_revision = "0010_fraction"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("jobs", "reference_model", new_column_name="retrained_model")
    op.alter_column("jobs", "reference", new_column_name="external_reference")
    op.execute("ALTER INDEX ix_jobs_reference_model RENAME TO ix_jobs_retrained_model")
    op.execute("UPDATE measurements SET moment = 'retrained' WHERE moment = 'reference'")


def downgrade() -> None:
    op.execute("UPDATE measurements SET moment = 'reference' WHERE moment = 'retrained'")
    op.execute("ALTER INDEX ix_jobs_retrained_model RENAME TO ix_jobs_reference_model")
    op.alter_column("jobs", "external_reference", new_column_name="reference")
    op.alter_column("jobs", "retrained_model", new_column_name="reference_model")
