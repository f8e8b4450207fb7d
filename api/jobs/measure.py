"""From a request to a job that measures and changes nothing."""

from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.dependencies import Context
from api.http.problems import Problem, unprocessable
from api.jobs import evaluation_validation
from api.jobs.chat_validation import ChatValidation
from api.jobs.inline_records import InlineRecords
from api.jobs.job_files import list_job_files, lock_requested_files, measurement_files
from api.jobs.job_models import check_retrained_model, lock_ready_model
from api.jobs.preflight import check_capacity, describe_measuring, estimate_cost
from core.evaluation.presets import PRESET_NAMES, PRESETS, PresetDefinition
from core.records import checkpoints, jobs
from core.records.tables import JobRow, ModelRow
from core.schema.ids import new_id
from core.schema.measurement_jobs import MeasurementRequest
from core.schema.models import ModelShape
from core.schema.training import Training
from core.unlearning.eval_tokenization import default_eval_settings

NO_METHOD = "none"


class MeasurementSubmission:
    """A request on its way to becoming a job of kind `measure`."""

    def __init__(self, context: Context, caller: Caller, request: MeasurementRequest) -> None:
        self._context, self._caller, self._request = context, caller, request
        self._measure = evaluation_validation.check_measurements(request.measure, pointer=("measure",))
        if request.preset is not None:
            chosen = self._measure if "measure" in request.model_fields_set else []
            preset = evaluation_validation.check_measurements(_find_preset(request.preset).measure)
            self._measure = [*chosen, *preset]
        self._inline = InlineRecords(context, caller, request.forget)

    async def write(self, session: AsyncSession) -> JobRow:
        """Writes the job in the caller's transaction. After a Problem nothing is written; then call `discard`."""
        request, organisation = self._request, self._caller.organisation
        model = await lock_ready_model(session, organisation, request.model)
        start = await self._start_checkpoint(session, model)
        if request.retrained_model is not None:
            pointer = "/retrained_model" if request.reference_model is None else "/reference_model"
            await check_retrained_model(session, model, request.retrained_model, pointer=pointer)
        training = self._eval_settings(ModelShape.model_validate(model.shape))
        requested = measurement_files(request)
        rows = await lock_requested_files(session, organisation, requested, lifetime=self._context.settings.retention)
        uses = [file.use for file in requested]
        await self._inline.add(session, uses, rows)
        job_files = list_job_files(requested, rows, self._inline)
        chat_validation = ChatValidation(self._context, job_files, option="/reading/chat")
        warnings = await chat_validation.check(model, training.chat, only_measures=True)
        gpus = request.resources.gpus
        if gpus is None:
            gpus = await jobs.default_gpus(session, stale_seconds=self._context.stale_seconds)
        classes = self._context.settings.worker_classes
        workload = describe_measuring(
            model,
            training,
            uses,
            rows,
            gpus=gpus,
            classes=classes,
            measurements=evaluation_validation.load_measurements(self._measure),
        )
        check_capacity(workload, classes, trains=False)
        estimate = await estimate_cost(
            session, organisation, model.id, workload, stale_seconds=self._context.stale_seconds
        )
        job = JobRow(
            id=new_id("meas"),
            organisation=organisation,
            submitter=self._caller.key,
            kind="measure",
            model=model.id,
            # never "head": the start is pinned now, so that this job waits for no other and no other waits for it
            start=start or "base",
            start_checkpoint=start,
            method=NO_METHOD,
            parameters={},
            training=training.model_dump(mode="json"),
            data=[self._inline.describe(use, rows[use.file]).model_dump(mode="json") for use in uses],
            warnings=warnings,
            estimate=estimate.model_dump(mode="json"),
            measure=self._measure,
            preset=request.preset,
            retrained_model=request.retrained_model,
            metadata_=request.metadata,
            gpus=gpus,
        )
        await jobs.create(session, job, uses)
        await session.flush()
        await session.refresh(job)
        return job

    async def discard(self) -> None:
        """After a failure: deletes the inline records' bytes, unless the job was written after all."""
        await self._inline.discard()

    async def _start_checkpoint(self, session: AsyncSession, model: ModelRow) -> str | None:
        """Returns the checkpoint to measure; None: the registered model itself.

        Problem: 422 where the checkpoint cannot be measured here, 403 where it is not released.
        """
        start = self._request.start
        if start in ("head", "base"):
            return model.head if start == "head" else None
        checkpoint = await checkpoints.get(session, self._caller.organisation, start)
        if checkpoint is None or checkpoint.model != model.id:
            raise unprocessable("/from", "the model has no such checkpoint", name="unknown-checkpoint")
        if not checkpoint.released and not self._caller.has_scope("release:write"):
            detail = "the checkpoint is not released: it waits for a person with the scope release:write"
            raise Problem(403, "not-released", detail)
        job = await jobs.get(session, self._caller.organisation, checkpoint.job)
        if job is not None and job.output == "adapter" and job.start_checkpoint is not None:
            detail = (
                "the checkpoint holds an adapter alone, for another checkpoint and not for the registered model:"
                " measure both by `unlearn measure ADAPTER --before CHECKPOINT`, or deliver it `merged`"
            )
            raise unprocessable("/from", detail, name="adapter-alone")
        return checkpoint.id

    def _eval_settings(self, shape: ModelShape) -> Training:
        reading = self._request.reading
        if reading.max_length is not None and shape.within_context(reading.max_length) < reading.max_length:
            detail = f"the model's context is {shape.context} tokens"
            raise unprocessable("/reading/max_length", detail, name="max-length-beyond-context")
        return default_eval_settings(shape, **reading.model_dump())


def _find_preset(preset: str) -> PresetDefinition:
    for name, columns in PRESETS.items():
        if name == preset:
            return columns
    raise unprocessable(
        "/preset", f"there is no preset '{preset}': choose of {', '.join(PRESET_NAMES)}", name="unknown-preset"
    )
