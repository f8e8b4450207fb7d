"""The recipe's steps that a job was accepted with: a shared run fits them to the forget set of all its jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0030_recipe_steps"
down_revision = "0029_digest_key_check"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("recipe_steps", JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "recipe_steps")
