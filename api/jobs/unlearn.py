"""From a request to a job: everything is checked that can be checked without a GPU, then all is written at once."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.dependencies import Context
from api.http.problems import Problem, invalid_parameters, unprocessable
from api.jobs import evaluation_validation, record_length
from api.jobs.chat_validation import ChatValidation, Used
from api.jobs.inline_records import Inline
from api.jobs.preflight import expected, refuse_oversized_job, work_of
from api.jobs.training_validation import check
from core.evaluation.policy.requirements import named
from core.records import files, jobs, models
from core.records.tables import FileRow, JobRow, ModelRow
from core.schema.evaluation import MeasurementChoice
from core.schema.ids import new_id
from core.schema.jobs import JobRequest, JobWarning, RetainSource
from core.schema.models import ModelShape
from core.schema.policies import Policy
from core.unlearning.method import Method
from core.unlearning.objectives import fill_training, resolve


def chosen_method(request: JobRequest) -> Method:
    """The method with its parameters checked. Raises UnknownMethod; Problem: 422 with pointers below `/method`."""
    choice = request.method_choice()
    try:
        return resolve(choice.name, choice.parameters)
    except ValidationError as error:
        raise invalid_parameters(error, choice.parameters, ("method",)) from None


@dataclass(frozen=True)
class Source:
    """A file that the job is to use, where the request names it, and what it may have been uploaded as."""

    use: jobs.FileUse
    pointer: str
    purposes: tuple[str, ...]


def sources(request: JobRequest, model: ModelRow) -> list[Source]:
    """The files of the job in order: those of the request, and the model's defaults where it names none.

    What is pinned to the model as unseen or general measures alone, whatever the request brings to train on.
    """
    found = []
    if request.forget.file is not None:
        found.append(Source(jobs.FileUse(request.forget.file, "forget"), "/forget/file", ("forget",)))
    defaults: dict[str, str | None] = model.defaults
    retain = request.retain
    if retain is None and (default := defaults.get("retain")):
        retain = [RetainSource(file=default)]
    for number, one in enumerate(retain or []):
        pointer = f"/retain/{number}/file" if request.retain else "/retain"
        pinned = one.kind == "general" and defaults.get("general")
        use = jobs.FileUse(one.file, "retain", one.kind, one.weight, part="trains" if pinned else None)
        found.append(Source(use, pointer, ("retain", "general")))
    found += _unseen(None if request.unseen is None else request.unseen.file, defaults.get("unseen"))
    if default := defaults.get("general"):
        found.append(Source(jobs.FileUse(default, "general"), "/model", ("general", "retain")))
    if request.probes is not None:
        found.append(Source(jobs.FileUse(request.probes.file, "probes"), "/probes/file", ("probes",)))
    if default := defaults.get("probes"):
        found.append(Source(jobs.FileUse(default, "protected"), "/model", ("probes",)))
    return found


def _unseen(own: str | None, pinned: str | None) -> list[Source]:
    """The request's own file only trains where another one is pinned."""
    found = []
    if own is not None:
        use = jobs.FileUse(own, "unseen", part=None if pinned in (None, own) else "trains")
        found.append(Source(use, "/unseen/file", ("unseen",)))
    if pinned not in (None, own):
        use = jobs.FileUse(pinned, "unseen", part=None if own is None else "measures")
        found.append(Source(use, "/unseen" if own is None else "/model", ("unseen",)))
    return found


def needs_met(method: Method, found: list[Source], *, dry_run: bool) -> list[dict[str, Any]]:
    """Warnings of a dry run, which does without what only the method needs.

    Problem (422): the method cannot do without a set that neither the request nor the model's defaults have."""
    given = {source.use.name for source in found}
    missing = [name for name in ("retain", "unseen") if name in method.needs() - given]
    if missing and not dry_run:
        name = missing[0]
        detail = f"the method '{method.name}' needs a {name} set: name a file here, or give the model a default"
        raise unprocessable(f"/{name}", detail, name="missing-data")
    if not missing:
        return []
    message = (
        f"this dry run does without, but a job by the method '{method.name}' needs a set that is not there:"
        f" {', '.join(missing)}"
    )
    return [JobWarning(code="missing_data", message=message).model_dump()]


def check_files(found: list[Source], rows: dict[str, FileRow]) -> None:
    """Problem (422): a file is not there, was uploaded for another purpose, or is named twice for two ends."""
    for source in found:
        row = rows.get(source.use.file)
        if row is None:
            own = source.pointer.endswith("/file")
            detail = "there is no such file" if own else "the file that the model has as its default was deleted"
            raise unprocessable(source.pointer, detail, name="unknown-file")
        if row.purpose not in source.purposes:
            detail = f"the file was uploaded as '{row.purpose}', not as {' or '.join(source.purposes)}"
            raise unprocessable(source.pointer, detail, name="wrong-purpose")


def used(found: list[Source], rows: dict[str, FileRow], inline: Inline) -> list[Used]:
    """The job's files with their rows, the records that came with the request first."""
    files = [Used(source.use.name, source.pointer, rows[source.use.file]) for source in found]
    if inline.file is not None:
        files.insert(0, Used("forget", "/forget/records", rows[inline.file], inline.records))
    return files


class UnlearnSubmission:
    """One request on its way to becoming a job."""

    def __init__(self, context: Context, caller: Caller, request: JobRequest) -> None:
        self._context, self._caller, self._request = context, caller, request
        self._method = chosen_method(request)
        measure = evaluation_validation.measure(request.evaluation.measure)
        self._measure = evaluation_validation.of_dry_run(request.evaluation) if request.dry_run else measure
        self._inline = Inline(context, caller, request.forget)

    async def write(self, session: AsyncSession) -> JobRow:
        """Writes the job in the caller's transaction. Problem: nothing was written. See `abandon`."""
        request, method = self._request, self._method
        model = await ready_model(session, self._caller.organisation, request.model)
        shape = ModelShape.model_validate(model.shape)
        if request.retrained_model is not None:
            pointer = "/retrained_model" if request.reference_model is None else "/reference_model"
            await evaluation_validation.check_retrained_model(session, model, request.retrained_model, pointer=pointer)
        policy = await evaluation_validation.policy(session, model, request.evaluation.policy)
        measure, said = self._measure, []
        if not request.dry_run:
            with_retrained = request.retrained_model is not None
            added = evaluation_validation.completed(request.evaluation, policy, retrained=with_retrained)
            measure, said = [*measure, *evaluation_validation.measure(added)], _added(added, policy)
        found = sources(request, model)
        said += needs_met(method, found, dry_run=request.dry_run)
        named = [source.use.file for source in found]
        await files.extend_lifetime(
            session, self._caller.organisation, named, lifetime=self._context.settings.retention
        )
        rows = await jobs.lock_files(session, self._caller.organisation, named)
        check_files(found, rows)
        uses = [source.use for source in found]
        await self._inline.add(session, uses, rows)
        forget_records = rows[uses[0].file].records
        check(request, method, shape, stored=shape.dtype if model.dtype == "auto" else model.dtype)
        training = fill_training(
            request.training, method.name, parameters=shape.parameters, forget_records=forget_records
        )
        training.max_length = shape.within_context(training.max_length)
        named_files = used(found, rows, self._inline)
        if not request.dry_run:
            await record_length.refuse(self._context, named_files, model)
        conversations = ChatValidation(self._context, named_files, option="/training/chat")
        said = [*said, *await conversations.hold(model, training.chat)]
        gpus = request.resources.gpus
        if gpus is None:
            gpus = await jobs.default_gpus(session, stale_seconds=self._context.stale_seconds)
        classes = self._context.settings.worker_classes
        changing = None if request.dry_run else method
        work = work_of(
            model,
            changing,
            training,
            uses,
            rows,
            gpus=gpus,
            classes=classes,
            measurements=evaluation_validation.made(measure),
        )
        refuse_oversized_job(work, classes)
        estimate = await expected(session, self._caller.organisation, model.id, work)
        job = JobRow(
            id=new_id("job"),
            organisation=self._caller.organisation,
            submitter=self._caller.key,
            kind="preview" if request.dry_run else "unlearn",
            model=model.id,
            **_start(request, model),
            method=method.name,
            parameters=method.model_dump(mode="json"),
            training=training.model_dump(mode="json"),
            output=request.output,
            data=[self._inline.used(use, rows[use.file]).model_dump(mode="json") for use in uses],
            warnings=[*warnings(uses, rows, request), *_unguarded(model), *said],
            estimate=estimate.model_dump(mode="json"),
            measure=measure,
            policy=policy.model_dump(mode="json"),
            retrained_model=request.retrained_model,
            external_reference=request.external_reference,
            due=request.due,
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


def _added(added: list[str | MeasurementChoice], policy: Policy) -> list[dict[str, Any]]:
    """That more is measured, and takes longer, than was asked for."""
    if not added:
        return []
    names = ", ".join(f"'{named(one)}'" for one in added)
    message = f"there is no verdict by the policy '{policy.name}' without {names}: measured too"
    return [JobWarning(code="measurements_added", message=message).model_dump()]


def _unguarded(model: ModelRow) -> list[dict[str, Any]]:
    """Says that nobody has to accept what the job makes."""
    if model.release != "always":
        return []
    message = "the model has release 'always': the checkpoint is handed out whatever its verdict, even where it failed"
    return [JobWarning(code="released_whatever_the_verdict", message=message).model_dump()]


async def ready_model(session: AsyncSession, organisation: str, name: str) -> ModelRow:
    """The registered model, held. Problem: 422 where there is none, 409 where it is not ready."""
    model = await models.get(session, organisation, name, lock=True)
    if model is None:
        raise unprocessable(
            "/model", "no model is registered under this id: POST /v1/models does that", name="unknown-model"
        )
    if model.status == "fetching":
        detail = "the model is still being fetched: try again when it is 'ready'"
        raise Problem(409, "model-not-ready", detail, headers={"Retry-After": "5"})
    if model.status != "ready":
        raise Problem(409, "model-not-ready", f"the model could not be registered: {model.error}")
    return model


def _start(request: JobRequest, model: ModelRow) -> dict[str, str | None]:
    """Where the job starts. One that changes nothing looks at the head as it is now, and waits for no other job."""
    if not request.dry_run or request.start != "head":
        return {"start": request.start}
    return {"start": model.head or "base", "start_checkpoint": model.head}


def warnings(uses: list[jobs.FileUse], rows: dict[str, FileRow], request: JobRequest) -> list[dict[str, Any]]:
    """What a person should know before the job starts."""
    found = []
    if request.output == "adapter" and request.start == "head":
        message = "an adapter does not become the model's head: later jobs start without what this one did"
        found.append(JobWarning(code="adapter_is_no_head", message=message).model_dump())
    forget = sum(rows[use.file].records for use in uses if use.name == "forget")
    retain = sum(rows[use.file].records for use in uses if use.name == "retain")
    if 0 < retain < forget:
        message = (
            f"the retain sets hold {retain} records, fewer than the {forget} to forget: they are gone through again"
        )
        found.append(JobWarning(code="retain_smaller_than_forget", message=message).model_dump())
    return found
