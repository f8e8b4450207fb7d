"""Following a job to its end, for the commands that wait for one."""

from api.cli.cost_line import cost_line
from api.cli.progress import follow_job
from api.cli.session import Session
from core.schema.jobs import Job


def follow_to_success(session: Session, id: str) -> Job:
    """Shows the job's progress, its cost, and what its checkpoint waits for; returns the job that has succeeded.

    Ends the command with code 1 where the job does not succeed.
    """
    job = follow_job(session.client, id, session.err)
    if job.status != "succeeded":
        if session.as_json:
            session.show(job)
        session.fail(f"{id} is {job.status}" + (f": {job.error.message}" if job.error else ""))
    if (cost := session.client.jobs.metrics(id).cost) is not None:
        session.note(cost_line(cost))
    if job.released is False:
        session.note(f"it waits for a second person: unlearn release {job.checkpoint} --reason …")
    return job
