"""The requests that made a checkpoint, and the last job that measured each."""

import pytest

from core.records import completion, earlier_requests, forgotten_records, leases, progress
from core.records.completion import UploadedCheckpoint
from core.schema.evaluation import Measurements
from core.schema.manifest import FileEntry
from core.schema.previously_forgotten import KeptFigures, RecordFigures
from tests.integration.records.scene import Scene, judgement

DELIVERED = UploadedCheckpoint("checkpoints/x/1", [FileEntry(path="a", bytes=1, sha256="0" * 64)], "d" * 64, 3)
AFTER = Measurements(seconds=1.0, model_digest="0" * 64)
FIGURES = RecordFigures(position=0, loss=3.0, extraction_strength=0.0, tokens=9)


async def finish(scene: Scene, kept: KeptFigures | None, digests: bytes | None = None) -> tuple[str, str]:
    """Finishes a job, which keeps digests under the key `first`; returns its id and its checkpoint's."""
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
        if digests is not None:
            await forgotten_records.keep(session, {job: digests}, key_check=b"first")
    return job, checkpoint


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
    job, checkpoint = await finish(scene, kept)
    async with scene.sessions() as session:
        (stored,) = await earlier_requests.made(session, scene.organisation, checkpoint, key_check=b"key")
    assert (stored.request.job, stored.request.last_measured) == (job, job if measured else None)


@pytest.mark.parametrize(("key", "found"), [(b"first", True), (b"other", False)])
async def test_digests_count_as_kept_only_under_the_service_key_that_made_them(
    scene: Scene, key: bytes, found: bool
) -> None:
    _, checkpoint = await finish(scene, None, digests=bytes(8))
    async with scene.sessions() as session:
        (stored,) = await earlier_requests.made(session, scene.organisation, checkpoint, key_check=key)
    assert (stored.request.digests_kept, stored.digests) == (found, bytes(8) if found else None)
