"""The requests that made a checkpoint, and the last job that measured each."""

import pytest

from core.records import completion, earlier_requests, leases, progress
from core.records.completion import UploadedCheckpoint
from core.schema.evaluation import Measurements
from core.schema.manifest import FileEntry
from core.schema.previously_forgotten import KeptFigures, RecordFigures
from tests.integration.records.scene import Scene, judgement

DELIVERED = UploadedCheckpoint("checkpoints/x/1", [FileEntry(path="a", bytes=1, sha256="0" * 64)], "d" * 64, 3)
AFTER = Measurements(seconds=1.0, model_digest="0" * 64)
FIGURES = RecordFigures(position=0, loss=3.0, extraction_strength=0.0, tokens=9)


@pytest.mark.parametrize(
    ("kept", "measured"),
    [
        (KeptFigures(chat="auto", max_length=64, records=[FIGURES]), True),
        (KeptFigures(chat="auto", max_length=64, records=[]), False),
        (None, False),
    ],
)
async def test_only_a_job_that_kept_figures_of_its_records_counts_as_having_measured_them(
    scene: Scene, kept: KeptFigures | None, measured: bool
) -> None:
    job = await scene.job()
    async with scene.sessions.begin() as session:
        row = await leases.claim(session, worker="w1", gpus=0, lease_seconds=30)
        assert row is not None
        await progress.add_measurements(session, job, row.fence, "after", AFTER, kept)
        (checkpoint,) = await completion.finish_all(
            session,
            {job: row.fence},
            outcome="unlearned",
            checkpoint=DELIVERED,
            judgements={job: judgement("passed")},
        )
    async with scene.sessions() as session:
        (stored,) = await earlier_requests.made(session, scene.organisation, checkpoint)
    assert (stored.request.job, stored.request.last_measured) == (job, job if measured else None)
