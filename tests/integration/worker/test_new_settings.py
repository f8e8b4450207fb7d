"""Jobs that an older version of the service accepted, with fewer settings than this version has."""

from core.unlearning.objectives import METHODS
from tests.integration.records.scene import TRAINING
from tests.integration.worker.worker_setup import WorkerSetup
from worker.claim import claim_job

CALIBRATED = METHODS["calibrated"]().model_dump(mode="json")
STORED = TRAINING.model_dump(mode="json")


async def test_a_job_keeps_the_settings_it_was_accepted_with_and_names_those_that_this_version_adds(
    setup: WorkerSetup,
) -> None:
    accepted = {**CALIBRATED, "smoothing": 2.0}
    del accepted["others_power"]
    training = {name: value for name, value in STORED.items() if name != "master_weights"}
    job = await setup.scene.job(method="calibrated", parameters=accepted, training=training)
    claimed = await claim_job(setup.scene.sessions, worker="one", gpus=0, lease_seconds=60)
    assert claimed is not None
    row = await setup.scene.row(job)
    assert row.parameters == {**CALIBRATED, "smoothing": 2.0}
    assert row.training == STORED
    (warning,) = row.warnings
    assert warning["code"] == "settings_added"
    power, weights = CALIBRATED["others_power"], STORED["master_weights"]
    assert f"method.others_power ({power}), training.master_weights ({weights})." in warning["message"]
    assert "warning" in [event.type for event in await setup.scene.events(job)]


async def test_a_job_with_all_settings_is_left_as_it_was_accepted(setup: WorkerSetup) -> None:
    accepted = {**CALIBRATED, "smoothing": 2.0}
    job = await setup.scene.job(method="calibrated", parameters=accepted, training=STORED)
    assert await claim_job(setup.scene.sessions, worker="one", gpus=0, lease_seconds=60) is not None
    row = await setup.scene.row(job)
    assert (row.parameters, row.training, row.warnings) == (accepted, STORED, [])
