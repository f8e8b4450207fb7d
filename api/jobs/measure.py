"""From a request to a job that measures and changes nothing."""

from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.dependencies import Context
from api.http.problems import Problem, unprocessable
from api.jobs import evaluation_validation
from api.jobs.chat_validation import ChatValidation
from api.jobs.inline_records import Inline
from api.jobs.preflight import expected, refuse_oversized_job, work_of
from api.jobs.unlearn import Source, check_files, ready_model, used
from core.evaluation.presets import PRESET_NAMES, PRESETS, PresetDefinition
from core.records import checkpoints, files, jobs
from core.records.jobs import FileUse
from core.records.tables import JobRow, ModelRow
from core.schema.ids import new_id
from core.schema.measurement_jobs import MeasurementRequest
from core.schema.models import ModelShape
from core.schema.training import Training
from core.unlearning.eval_tokenization import default_eval_settings

NO_METHOD = "none"


class MeasurementSubmission:
    """One request on its way to becoming a job of kind `measure`."""

    def __init__(self, context: Context, caller: Caller, request: MeasurementRequest) -> None:
        self._context, self._caller, self._request = context, caller, request
        self._measure = evaluation_validation.measure(request.measure, pointer=("measure",))
        if request.preset is not None:
            own = self._measure if "measure" in request.model_fields_set else []
            self._measure = [*own, *evaluation_validation.measure(_columns(request.preset).measure)]
        self._inline = Inline(context, caller, request.forget)

    async def write(self, session: AsyncSession) -> JobRow:
        """Writes the job in the caller's transaction. Problem: nothing was written. See `abandon`."""
        request, organisation = self._request, self._caller.organisation
        model = await ready_model(session, organisation, request.model)
        start = await self._start(session, model)
        if request.retrained_model is not None:
            pointer = "/retrained_model" if request.reference_model is None else "/reference_model"
            await evaluation_validation.check_retrained_model(session, model, request.retrained_model, pointer=pointer)
        training = self._training(ModelShape.model_validate(model.shape))
        found = sources(request)
        named = [source.use.file for source in found]
        await files.extend_lifetime(session, organisation, named, lifetime=self._context.settings.retention)
        rows = await jobs.lock_files(session, organisation, named)
        check_files(found, rows)
        uses = [source.use for source in found]
        await self._inline.add(session, uses, rows)
        conversations = ChatValidation(self._context, used(found, rows, self._inline), option="/reading/chat")
        warnings = await conversations.hold(model, training.chat, measures=True)
        gpus = request.resources.gpus
        if gpus is None:
            gpus = await jobs.default_gpus(session, stale_seconds=self._context.stale_seconds)
        classes = self._context.settings.worker_classes
        work = work_of(
            model,
            None,
            training,
            uses,
            rows,
            gpus=gpus,
            classes=classes,
            measurements=evaluation_validation.made(self._measure),
        )
        refuse_oversized_job(work, classes, trains=False)
        estimate = await expected(session, organisation, model.id, work)
        job = JobRow(
            id=new_id("meas"),
            organisation=organisation,
            submitter=self._caller.key,
            kind="measure",
            model=model.id,
            # never "head": it is pinned now, so that this waits for no job and no job waits for this
            start=start or "base",
            start_checkpoint=start,
            method=NO_METHOD,
            parameters={},
            training=training.model_dump(mode="json"),
            data=[self._inline.used(use, rows[use.file]).model_dump(mode="json") for use in uses],
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

    async def abandon(self) -> None:
        """After a failure: takes back the inline records' bytes, unless the job was written after all."""
        await self._inline.abandon()

    async def _start(self, session: AsyncSession, model: ModelRow) -> str | None:
        """The checkpoint that is meant; None: the registered model itself. Problem: 422, or 403 while it waits."""
        named = self._request.start
        if named in ("head", "base"):
            return model.head if named == "head" else None
        found = await checkpoints.get(session, self._caller.organisation, named)
        if found is None or found.model != model.id:
            raise unprocessable("/from", "the model has no such checkpoint", name="unknown-checkpoint")
        if not found.released and not self._caller.has_scope("release:write"):
            detail = "the checkpoint is not released: it waits for a person with the scope release:write"
            raise Problem(403, "not-released", detail)
        job = await jobs.get(session, self._caller.organisation, found.job)
        if job is not None and job.output == "adapter" and job.start_checkpoint is not None:
            detail = (
                "the checkpoint holds an adapter alone, for another checkpoint and not for the registered model:"
                " measure both by `unlearn measure ADAPTER --before CHECKPOINT`, or deliver it `merged`"
            )
            raise unprocessable("/from", detail, name="adapter-alone")
        return found.id

    def _training(self, shape: ModelShape) -> Training:
        asked = self._request.reading
        if asked.max_length is not None and shape.within_context(asked.max_length) < asked.max_length:
            detail = f"the model's context is {shape.context} tokens"
            raise unprocessable("/reading/max_length", detail, name="max-length-beyond-context")
        return default_eval_settings(shape, **asked.model_dump())


def _columns(preset: str) -> PresetDefinition:
    for name, columns in PRESETS.items():
        if name == preset:
            return columns
    raise unprocessable(
        "/preset", f"there is no preset '{preset}': choose of {', '.join(PRESET_NAMES)}", name="unknown-preset"
    )


def sources(request: MeasurementRequest) -> list[Source]:
    """The files that the request names, in order."""
    found = []
    if request.forget is not None and request.forget.file is not None:
        found.append(Source(FileUse(request.forget.file, "forget"), "/forget/file", ("forget",)))
    for number, one in enumerate(request.retain or []):
        use = FileUse(one.file, "retain", "in_distribution")
        found.append(Source(use, f"/retain/{number}/file", ("retain", "general")))
    only = (
        ("unseen", request.unseen, ("unseen",)),
        ("general", request.general, ("general", "retain")),
        ("probes", request.probes, ("probes",)),
        ("protected", request.protected, ("probes",)),
    )
    for name, source, purposes in only:
        if source is not None:
            found.append(Source(FileUse(source.file, name), f"/{name}/file", purposes))
    return found
