"""Jobs that an older version of the service accepted, with fewer settings than this version has."""

import pytest

from core.records import models
from core.records.jobs import FileUse
from core.records.tables import JobRow
from core.schema.models import ModelShape
from core.schema.record import Record
from core.unlearning.objectives import METHODS
from tests.integration.records.scene import TRAINING
from tests.integration.worker.scripted_child import ScriptedAttempts
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


async def test_a_new_setting_within_another_is_written_and_named_by_its_place(setup: WorkerSetup) -> None:
    lora = {"rank": 4, "alpha": 8.0}
    job = await setup.scene.job(training={**STORED, "lora": lora}, kind="preview")
    await claim(setup)
    row = await setup.scene.row(job)
    assert row.training == {**STORED, "lora": {**lora, "modules": "all-linear"}}
    (warning,) = row.warnings
    assert "defaults: training.lora.modules (all-linear)." in warning["message"]


async def test_a_job_whose_training_this_version_refuses_fails_by_the_name_of_the_setting(
    scripted: ScriptedAttempts,
) -> None:
    file = await forget_file(scripted.setup, 1)
    job = await scripted.setup.scene.job(files=[file], training={**STORED, "momentum": 0.9})
    await (await scripted.attempt("raise SystemExit(1)")).attend()
    row = await scripted.setup.scene.row(job)
    assert row.error is not None
    assert (row.status, row.error["code"], row.error["retryable"]) == ("failed", "bad_method", False)
    assert "refuses its training (momentum)" in row.error["message"]


COMBINED = {"start": "base", "combine_key": "a", "requested_training": {}}
ACCEPTED = {**STORED, "tune": "auto", "epochs": 5, "records_per_step": 1, "learning_rate": 7e-5, "weight_decay": 0.5}
"""As a version with other defaults than all methods of this one has filled it in, for one record."""


async def forget_file(setup: WorkerSetup, records: int) -> FileUse:
    return FileUse(
        await setup.upload("forget", [Record(text=f"Person {n} keeps bees.") for n in range(records)]), "forget"
    )


async def small_shape(setup: WorkerSetup) -> None:
    """Gives the model a shape, as its registration does."""
    shape = ModelShape(
        architecture="Llama",
        parameters=1_000_000,
        bytes=4_000_000,
        hidden_size=64,
        layers=2,
        heads=2,
        vocabulary=500,
        context=None,
        dtype="float32",
    )
    async with setup.scene.sessions.begin() as session:
        model = await models.get(session, setup.scene.organisation, "demo")
        assert model is not None
        model.shape = shape.model_dump(mode="json")


async def claim(setup: WorkerSetup) -> None:
    assert await claim_job(setup.scene.sessions, worker="one", gpus=0, lease_seconds=60) is not None


@pytest.mark.parametrize("steps", [{"epochs": 5, "records_per_step": 40}, None], ids=["kept", "not kept"])
async def test_a_job_that_may_share_a_run_keeps_its_training_when_it_runs_by_itself(
    setup: WorkerSetup, steps: dict[str, int] | None
) -> None:
    await small_shape(setup)
    training = {**ACCEPTED, "epochs": 20}
    file = await forget_file(setup, 1)
    job = await setup.scene.job(method="calibrated", files=[file], training=training, recipe_steps=steps, **COMBINED)
    await claim(setup)
    row = await setup.scene.row(job)
    assert (row.training, row.warnings) == (training, [])


async def test_a_shared_run_fits_the_recipe_that_its_jobs_were_accepted_with(setup: WorkerSetup) -> None:
    await small_shape(setup)
    accepted = {name: value for name, value in ACCEPTED.items() if name != "master_weights"}
    jobs = [
        await setup.scene.job(
            method="calibrated",
            files=[await forget_file(setup, records)],
            training={**accepted, "epochs": 20},
            recipe_steps={"epochs": 5, "records_per_step": 40},
            **COMBINED,
        )
        for records in (1, 60)
    ]
    await claim(setup)
    rows: list[JobRow] = [await setup.scene.row(job) for job in jobs]
    for row in rows:
        assert row.shared_run == jobs[0]
        # 61 records are two updates of 40, and ten epochs of these the fewest updates
        assert row.training == {**ACCEPTED, "epochs": 10, "records_per_step": 40}
        (warning,) = row.warnings
        assert warning["code"] == "settings_added"
        assert "defaults: training.master_weights (float32)." in warning["message"]


async def test_requested_steps_are_kept_in_a_shared_run(setup: WorkerSetup) -> None:
    await small_shape(setup)
    requested = {"epochs": 3, "records_per_step": 2}
    for records in (1, 6):
        job = await setup.scene.job(
            files=[await forget_file(setup, records)],
            training={**ACCEPTED, **requested},
            recipe_steps={"epochs": 5, "records_per_step": 40},
            **{**COMBINED, "requested_training": requested},
        )
    await claim(setup)
    assert (await setup.scene.row(job)).training == {**ACCEPTED, **requested}
