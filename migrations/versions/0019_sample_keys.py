"""The keys of rehearsal samples, which workers keep sealed: one for each registered model and host."""

import sqlalchemy as sa
from alembic import op

revision = "0019_sample_keys"
down_revision = "0018_key_store"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sample_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organisation", sa.String(64), nullable=False),
        sa.Column("model", sa.String(96), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["organisation", "model"], ["models.organisation", "models.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_sample_keys_organisation_model", "sample_keys", ["organisation", "model"])


def downgrade() -> None:
    op.drop_table("sample_keys")
