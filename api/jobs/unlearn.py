"""From a request to an unlearning job: checks everything that needs no GPU, then writes all rows at once."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import httpx
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.dependencies import Context
from api.http.field_errors import invalid_parameters
from api.jobs import evaluation_validation, job_warnings
from api.jobs.chat_validation import ChatValidation
from api.jobs.deadline import find_deadline
from api.jobs.inline_records import InlineRecords
from api.jobs.job_files import RequestedFile, list_job_files, lock_requested_files, unlearning_files
from api.jobs.job_models import check_retrained_model, lock_ready_model
from api.jobs.preflight import check_capacity, describe_measuring, describe_unlearning, estimate_cost
from api.jobs.record_length import check_record_lengths
from api.jobs.training_validation import check_training
from api.webhooks.signature import seal_secret
from core.preflight.workload import Workload
from core.records import jobs
from core.records.jobs import FileUse
from core.records.tables import FileRow, JobRow, ModelRow
from core.schema.combining import OWN_SETS, combine_key
from core.schema.evaluation import SetName
from core.schema.ids import new_id
from core.schema.job_sources import RetainKind
from core.schema.jobs import JobRequest, Origin, SetUsed
from core.schema.models import ModelShape
from core.schema.policies import Policy
from core.schema.training import Training
from core.unlearning.method import Method
from core.unlearning.objectives import fill_training, recipe_steps, resolve


class UnlearnSubmission:
    """A request on its way to becoming a job."""

    def __init__(self, context: Context, caller: Caller, request: JobRequest) -> None:
        self._context, self._caller, self._request = context, caller, request
        self._method = _resolve_method(request)
        measure = evaluation_validation.check_measurements(request.evaluation.measure)
        if request.dry_run:
            measure = evaluation_validation.dry_run_measurements(request.evaluation)
        self._measure = measure
        self._inline = InlineRecords(context, caller, request.forget)

    async def write(self, session: AsyncSession) -> JobRow:
        """Writes the job in the caller's transaction. After a Problem nothing is written; then call `discard`."""
        request, method, organisation = self._request, self._method, self._caller.organisation
        received_at, due = await find_deadline(session, request)
        await self._check_webhook()
        model = await lock_ready_model(session, organisation, request.model)
        shape = ModelShape.model_validate(model.shape)
        if request.retrained_model is not None:
            pointer = "/retrained_model" if request.reference_model is None else "/reference_model"
            await check_retrained_model(session, model, request.retrained_model, pointer=pointer)
        policy = await evaluation_validation.resolve_policy(session, model, request.evaluation.policy)
        measure, warnings = self._measure, list[dict[str, Any]]()
        if not request.dry_run:
            added = evaluation_validation.missing_measurements(
                request.evaluation, policy, retrained=request.retrained_model is not None
            )
            measure = [*measure, *evaluation_validation.check_measurements(added)]
            warnings += job_warnings.added_measurement_warnings(added, policy)
        requested = unlearning_files(request, model)
        missing_sets = _missing_sets(method, requested, dry_run=request.dry_run)
        if request.dry_run:
            warnings += job_warnings.missing_data_warnings(method, missing_sets)
        rows = await lock_requested_files(session, organisation, requested, lifetime=self._context.settings.retention)
        uses = [file.use for file in requested]
        await self._inline.add(session, uses, rows)
        check_training(request, method, shape, stored=shape.dtype if model.dtype == "auto" else model.dtype)
        training = fill_training(
            request.training,
            method.name,
            parameters=shape.parameters,
            forget_records=rows[uses[0].file].records,
            gpus=request.resources.gpus or 0,
        )
        training.max_length = shape.within_context(training.max_length)
        job_files = list_job_files(requested, rows, self._inline)
        if not request.dry_run:
            await check_record_lengths(self._context, job_files, model)
        chat_validation = ChatValidation(self._context, job_files, option="/training/chat")
        warnings += await chat_validation.check(model, training.chat)
        gpus = request.resources.gpus
        if gpus is None:
            gpus = await jobs.default_gpus(session, stale_seconds=self._context.stale_seconds)
        classes = self._context.settings.worker_classes
        describe: Callable[..., Workload]
        describe = describe_measuring if request.dry_run else partial(describe_unlearning, method, missing_sets)
        workload = describe(
            model,
            training,
            uses,
            rows,
            gpus=gpus,
            classes=classes,
            measurements=evaluation_validation.load_measurements(measure),
        )
        check_capacity(workload, classes)
        estimate = await estimate_cost(
            session, organisation, model.id, workload, stale_seconds=self._context.stale_seconds
        )
        id = new_id("job")
        job = JobRow(
            id=id,
            organisation=organisation,
            submitter=self._caller.key,
            kind="preview" if request.dry_run else "unlearn",
            model=model.id,
            **_start(request, model),
            method=method.name,
            parameters=method.model_dump(mode="json"),
            training=training.model_dump(mode="json"),
            output=request.output,
            data=[used.model_dump(mode="json") for used in self._describe_data(requested, rows, missing_sets)],
            warnings=[
                *job_warnings.output_warnings(request),
                *job_warnings.set_size_warnings(uses, rows),
                *job_warnings.release_warnings(model),
                *warnings,
            ],
            estimate=estimate.model_dump(mode="json"),
            measure=measure,
            policy=policy.model_dump(mode="json"),
            **self._combining(measure, policy, uses, gpus, training, shape.parameters),
            retrained_model=request.retrained_model,
            external_reference=request.external_reference,
            received_at=received_at,
            due=due,
            **self._seal_webhook(id),
            metadata_=request.metadata,
            gpus=gpus,
        )
        await jobs.create(session, job, uses)
        await session.flush()
        await session.refresh(job)
        return job

    def _combining(
        self,
        measure: list[str | dict[str, Any]],
        policy: Policy,
        uses: Sequence[FileUse],
        gpus: int,
        training: Training,
        parameters: int,
    ) -> dict[str, Any]:
        """Returns what a job must know to share a run, if it may."""
        request = self._request
        if not request.combine:
            return {}
        requested = request.training.model_dump(mode="json", exclude_none=True)
        steps = recipe_steps(self._method.name, parameters).model_dump()
        settings = {
            "start": request.start,
            "method": [self._method.name, self._method.model_dump(mode="json")],
            "training": requested,
            # jobs that were accepted by versions with other defaults share no run
            "filled": [training.model_dump(mode="json", exclude=set(steps)), steps],
            "output": request.output,
            "gpus": gpus,
            "measure": measure,
            "policy": policy.model_dump(mode="json"),
        }
        files = [(use.name, use.file, use.kind, use.weight, use.part) for use in uses if use.name not in OWN_SETS]
        return {"requested_training": requested, "recipe_steps": steps, "combine_key": combine_key(settings, files)}

    def _describe_data(
        self, requested: list[RequestedFile], rows: dict[str, FileRow], missing_sets: list[SetName]
    ) -> list[SetUsed]:
        """Returns the sets as the API shows them; a dry run makes none."""
        origins: dict[FileUse, Origin] = {file.use: file.origin for file in requested}
        inline = [] if self._inline.file is None else [FileUse(self._inline.file, "forget")]
        uses = [*inline, *(file.use for file in requested)]
        brought = [self._inline.describe(use, rows[use.file], origin=origins.get(use, "request")) for use in uses]
        return brought if self._request.dry_run else [*brought, *map(_to_be_made, missing_sets)]

    async def discard(self) -> None:
        """After a failure: deletes the inline records' bytes, unless the job was written after all."""
        await self._inline.discard()

    async def _check_webhook(self) -> None:
        """UnusableWebhook: the job's webhook has an address that nothing is sent to."""
        if self._request.webhook is not None:
            await self._context.webhook_rules.resolve(httpx.URL(str(self._request.webhook.url)))

    def _seal_webhook(self, job: str) -> dict[str, Any]:
        webhook = self._request.webhook
        if webhook is None:
            return {}
        secret = seal_secret(webhook.secret.get_secret_value(), self._context.service_key, job)
        return {"webhook_url": str(webhook.url), "webhook_secret": secret}


def _resolve_method(request: JobRequest) -> Method:
    """Returns the method with its parameters. Raises UnknownMethod; Problem: 422 with pointers below `/method`."""
    choice = request.method_choice()
    try:
        return resolve(choice.name, choice.parameters)
    except ValidationError as error:
        raise invalid_parameters(error, choice.parameters, ("method",)) from None


def _missing_sets(method: Method, requested: list[RequestedFile], *, dry_run: bool) -> list[SetName]:
    """Returns the sets that the job needs and that neither the request nor the model has: the job makes them itself.

    A job that is no dry run needs a retain set whatever its method, since what survives is judged by it.
    """
    present = {file.use.name for file in requested}
    needed = method.needs() if dry_run else method.needs() | {"retain"}
    names: tuple[SetName, ...] = ("retain", "unseen")
    return [name for name in names if name in needed - present]


def _to_be_made(name: SetName) -> SetUsed:
    kind: RetainKind | None = "in_distribution" if name == "retain" else None
    return SetUsed(name=name, file=None, kind=kind, records=0, sha256=None, origin="made")


def _start(request: JobRequest, model: ModelRow) -> dict[str, str | None]:
    """Returns where the job starts. A dry run is pinned to the present head, so that it waits for no other job."""
    if not request.dry_run or request.start != "head":
        return {"start": request.start}
    return {"start": model.head or "base", "start_checkpoint": model.head}
