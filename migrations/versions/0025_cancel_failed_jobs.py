"""A failed job may be cancelled: somebody answered its request in another way, so that it is no longer overdue."""

from alembic import op

revision = "0025_cancel_failed_jobs"
down_revision = "0024_kept_figures"
branch_labels = None
depends_on = None

# as the table stood at this revision: a migration never imports what later versions change
ALLOWED = {
    "queued": ("running", "paused", "cancelled"),
    "running": ("succeeded", "failed", "queued", "paused", "cancelled"),
    "paused": ("queued", "cancelled"),
    "failed": ("queued", "cancelled"),
}


def upgrade() -> None:
    _replace(ALLOWED)


def downgrade() -> None:
    _replace({**ALLOWED, "failed": ("queued",)})


def _replace(allowed: dict[str, tuple[str, ...]]) -> None:
    pairs = ", ".join(f"('{now}', '{target}')" for now, targets in allowed.items() for target in targets)
    op.execute(f"""
        CREATE OR REPLACE FUNCTION refuse_job_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (OLD.status, NEW.status) NOT IN ({pairs}) THEN
                RAISE EXCEPTION 'a job cannot go from % to %', OLD.status, NEW.status
                USING ERRCODE = 'check_violation', TABLE = 'jobs', CONSTRAINT = 'tr_jobs_status_change';
            END IF;
            RETURN NEW;
        END
        $$
    """)
