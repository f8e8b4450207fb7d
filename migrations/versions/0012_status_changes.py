"""A trigger that refuses changes of a job's status outside the state machine (core/records/job_status.py)."""

from alembic import op

revision = "0012_status_changes"
down_revision = "0011_retrained_model"
branch_labels = None
depends_on = None

# as the table stood at this revision: a migration never imports what later versions change
ALLOWED = {
    "queued": ("running", "paused", "cancelled"),
    "running": ("succeeded", "failed", "queued", "paused", "cancelled"),
    "paused": ("queued", "cancelled"),
    "failed": ("queued",),
}


def upgrade() -> None:
    pairs = ", ".join(f"('{now}', '{target}')" for now, targets in ALLOWED.items() for target in targets)
    op.execute(f"""
        CREATE FUNCTION refuse_job_status_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (OLD.status, NEW.status) NOT IN ({pairs}) THEN
                RAISE EXCEPTION 'a job cannot go from % to %', OLD.status, NEW.status
                USING ERRCODE = 'check_violation', TABLE = 'jobs', CONSTRAINT = 'tr_jobs_status_change';
            END IF;
            RETURN NEW;
        END
        $$
    """)
    op.execute("""
        CREATE TRIGGER tr_jobs_status_change BEFORE UPDATE OF status ON jobs
        FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION refuse_job_status_change()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER tr_jobs_status_change ON jobs")
    op.execute("DROP FUNCTION refuse_job_status_change()")
