"""A claimed job with everything that its child process needs, read in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from core.records import checkpoints, earlier_requests, files, jobs, models
from core.records.earlier_requests import StoredRequest
from core.records.tables import CheckpointFile, FileRow, JobFile, JobRow, ModelRow
from core.schema.combining import OWN_SETS
from core.schema.job_spec import (
    ChildMethod,
    ExpectedTokens,
    JobSpec,
    MeasureSpec,
    PreviewSpec,
    SealedFolder,
    SocketRecords,
    UnlearnSpec,
)
from core.schema.jobs import SetUsed
from core.schema.policies import Policy
from core.schema.training import Training
from worker.failure import service_failure
from worker.scratch import Scratch

JobFiles = Sequence[tuple[JobFile, FileRow]]


@dataclass(frozen=True)
class Assignment:
    """A claimed job, its model and its files.

    `start` is the checkpoint to start from, as prefix and files; None: the registered model itself.

    `retrained` is the model that was retrained without the forget set, where there is one.
    """

    job: JobRow
    model: ModelRow
    start: tuple[str, Sequence[CheckpointFile]] | None
    sets: JobFiles
    retrained: ModelRow | None = None
    adapter: bool = False
    """The checkpoint holds an adapter alone, for the registered model."""
    companions: Sequence[JobRow] = ()
    """The jobs that share the run. Their forget sets and probes are among `sets`."""
    earlier: Sequence[StoredRequest] = ()
    """The requests that made the checkpoint to start from, the newest first."""

    def spec(
        self,
        scratch: Scratch,
        *,
        token: str,
        threads: int,
        cache: Path | None = None,
        samples: SealedFolder | None = None,
        snapshots: SealedFolder | None = None,
        benchmark_tasks: Path | None = None,
        benchmark_code: bool = False,
    ) -> JobSpec:
        """Returns the child's spec. The child keeps measurements in `cache`, texts that the model writes in `samples`,
        the job's state in `snapshots`, and finds tasks in `benchmark_tasks`.

        Raises AttemptFailed where a model has no directory, or this version refuses the job's training.
        """
        common: dict[str, Any] = {
            "job": self.job.id,
            "fence": self.job.fence,
            "model": self.model.id,
            "directory": scratch.start if self.start is not None else _directory(self.model),
            "dtype": self.model.dtype,
            "training": _training(self.job),
            "records": SocketRecords(path=scratch.socket(), token=token),
            "cache": cache,
            "benchmark_tasks": benchmark_tasks,
            "benchmark_code": benchmark_code,
            "measure": self.job.measure,
            "retrained": None if self.retrained is None else _directory(self.retrained),
            "training_tokens": self.model.training_tokens,
            "expected": _expected(self.job.estimate),
            "threads": threads,
        }
        policy = None if self.job.policy is None else Policy.model_validate(self.job.policy)
        match self.job.kind:
            case "preview":
                return PreviewSpec(**common)
            case "measure":
                return MeasureSpec(**common, base=_directory(self.model) if self.adapter else None, policy=policy)
        return UnlearnSpec(
            **common,
            start=self.job.start_checkpoint,
            data=[SetUsed.model_validate(used) for used in (*self.job.data, *self._companion_data())],
            samples=samples,
            companions=[companion.id for companion in self.companions],
            earlier=[stored.request for stored in self.earlier],
            method=ChildMethod(name=self.job.method, parameters=self.job.parameters),
            output=scratch.output,
            deliver=self.job.output,
            ranks=max(1, self.job.gpus),
            snapshots=snapshots,
            policy=policy,
        )

    def _companion_data(self) -> list[dict[str, Any]]:
        return [used for companion in self.companions for used in companion.data if used["name"] in OWN_SETS]


def _training(job: JobRow) -> Training:
    """Returns the job's training. AttemptFailed where this version of the service lacks one of its settings."""
    try:
        return Training.model_validate(job.training)
    except ValidationError as error:
        refused = sorted({".".join(map(str, detail["loc"])) for detail in error.errors(include_input=False)})
        raise service_failure(
            "bad_method",
            "the job was accepted by an older version of the service, and the version that runs it refuses its"
            f" training ({', '.join(refused)}); submit the job again",
            retryable=False,
        ) from None


def _expected(estimate: dict[str, Any] | None) -> ExpectedTokens | None:
    """Returns the token counts of the job's estimate, or None where the estimate has none."""
    if estimate is None or estimate.get("measured_tokens") is None:
        return None
    return ExpectedTokens(measured=estimate["measured_tokens"], updates=estimate["tokens"])


def _directory(model: ModelRow) -> Path:
    if model.directory is None:
        raise service_failure(
            "model_not_ready", f"the model '{model.id}' has no files; register it again", retryable=False
        )
    return Path(model.directory)


async def read(
    session: AsyncSession, job: JobRow, companions: Sequence[JobRow] = (), *, key_check: bytes
) -> Assignment:
    """Reads the claimed job's model, start checkpoint and files, and the companions' own files. AttemptFailed where one
    of them is gone."""
    model = await models.get(session, job.organisation, job.model)
    if model is None:
        raise service_failure(
            "model_gone", "the model of this job is no longer registered; register it again", retryable=False
        )
    retrained = None
    if job.retrained_model is not None:
        retrained = await models.get(session, job.organisation, job.retrained_model)
        if retrained is None:
            raise service_failure(
                "model_gone",
                "the retrained model of this job is no longer registered; register it again",
                retryable=False,
            )
    start, adapter, earlier = None, False, list[StoredRequest]()
    if job.start_checkpoint is not None:
        checkpoint = await checkpoints.get(session, job.organisation, job.start_checkpoint)
        if checkpoint is None:
            raise service_failure(
                "checkpoint_gone",
                "the checkpoint that this job starts from is gone; submit a job that starts from another",
                retryable=False,
            )
        start = (checkpoint.prefix, await checkpoints.files(session, checkpoint.id))
        origin = await jobs.get(session, job.organisation, checkpoint.job)
        adapter = origin is not None and origin.output == "adapter"
        if job.kind == "unlearn":
            earlier = await earlier_requests.made(session, job.organisation, checkpoint.id, key_check=key_check)
    sets = list(await files.list_for_job(session, job.id))
    for companion in companions:
        sets += [(use, file) for use, file in await files.list_for_job(session, companion.id) if use.name in OWN_SETS]
    for id in (job.id, *(companion.id for companion in companions)):
        if await files.any_missing(session, id):
            raise service_failure("file_gone", "a file of this job is gone; upload it again", retryable=False)
    return Assignment(job, model, start, sets, retrained, adapter, companions, earlier)
