"""What the child process is told: a job spec (one JSON line on standard input), and how it gets its records.

The records never stand in the spec: the child fetches them over a 0600 Unix socket with a one-time token, or, when a
person runs it by hand (`unlearn run`), reads the files that the spec names.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from core.schema.evaluation import MeasurementChoice, SetName
from core.schema.jobs import JobKind, Output, Part, RetainKind
from core.schema.policies import Policy
from core.schema.record import Record
from core.schema.strict import Strict
from core.schema.training import Training


class RecordSet(Strict):
    """The records of one set. Over the socket: one JSON line a set, in any order, then end of file."""

    name: SetName
    kind: RetainKind | None = None
    weight: float = 1.0
    part: Part | None = None
    records: list[Record]


class SocketRecords(Strict):
    """Connect, send `token` and a newline, read lines of RecordSet until end of file."""

    source: Literal["socket"] = "socket"
    path: Path
    token: str


class FileRecords(Strict):
    """Files on this machine, of any format that an upload may have, for runs without a server."""

    source: Literal["files"] = "files"
    forget: Path | None = None
    retain: list[Path] = []
    general: list[Path] = Field(default=[], description="retain files of kind `general`")
    only_general: Path | None = Field(default=None, description="general text that only measures")
    unseen: Path | None = None
    probes: Path | None = None
    protected: Path | None = None


class ExpectedTokens(Strict):
    """Tokens that the job's estimate expects to go through the model."""

    measured: float = Field(ge=0, description="by measuring, before and after together")
    updates: float = Field(ge=0, description="by all updates")


class ChildMethod(Strict):
    name: str
    parameters: dict[str, Any]


class JobSpec(Strict):
    """Everything the child needs but the records."""

    version: Literal[1] = 1
    kind: JobKind = "unlearn"
    job: str
    fence: int = 0
    model: str = Field(description="the registered model's id, for the model card")
    directory: Path = Field(description="θ0: the model the job starts from")
    start: str | None = Field(default=None, description="the checkpoint that `directory` is; null: the model itself")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    method: ChildMethod | None = None
    training: Training = Field(
        description="how the job trains; of a job of kind measure how records are read, which no other job chooses"
    )
    records: SocketRecords | FileRecords = Field(discriminator="source")
    output: Path = Field(description="an empty or absent directory that the checkpoint is written to")
    deliver: Output = Field(default="full", description="what the checkpoint holds of a model with an adapter")
    ranks: int = Field(default=1, ge=1, le=64, description="processes that share the job, one per GPU")
    snapshots: Path | None = Field(default=None, description="where this job's snapshots are kept; none without it")
    scratch: Path | None = Field(default=None, description="a private directory for what does not fit in memory")
    measure: list[str | MeasurementChoice] = Field(default=["standard"], description="measurements, or groups of them")
    retrained: Path | None = Field(default=None, description="a model retrained without the forget set")
    original: Path | None = Field(
        default=None, description="of a job of kind measure: the model that this one was made from, to compare with"
    )
    base: Path | None = Field(
        default=None, description="of a job of kind measure whose `directory` holds an adapter alone: its model"
    )
    policy: Policy | None = Field(default=None, description="what the saved model is held to; none: no verdict")
    cache: Path | None = Field(default=None, description="a directory where what was measured is kept for later jobs")
    cache_forgotten: bool = Field(
        default=False, description="values of the forget set's records too: for benchmarks, whose records are nobody's"
    )
    benchmark_tasks: Path | None = Field(default=None, description="the operator's definitions of benchmark tasks")
    benchmark_code: bool = Field(default=False, description="benchmark tasks may run code that the model writes")
    training_tokens: int | None = Field(default=None, ge=1, description="that the model was trained on, once each")
    expected: ExpectedTokens | None = Field(default=None, description="by which the job says how far it is")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; default: as many as this process may use")

    @model_validator(mode="after")
    def _method_where_needed(self) -> "JobSpec":
        if self.kind == "unlearn" and self.method is None:
            raise ValueError("a job of kind unlearn names its method")
        return self
