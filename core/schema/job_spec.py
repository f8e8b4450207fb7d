"""What the child process is told: a job spec (one JSON line on standard input), and how it gets its records.

The records never stand in the spec: the child fetches them over a 0600 Unix socket with a one-time token, or, when a
person runs it by hand (`unlearn run`), reads the files that the spec names.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter

from core.schema.evaluation import MeasurementChoice, SetName
from core.schema.jobs import Output, Part, RetainKind
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


class CommonSpec(Strict):
    """What the child needs for a job of any kind, but for the records."""

    version: Literal[1] = 1
    job: str = Field(description="the job's id")
    fence: int = Field(default=0, description="the attempt's number: it stands in the path of each snapshot")
    model: str = Field(description="the registered model's id, for the model card")
    directory: Path = Field(description="θ0: the model the job starts from")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="what checkpoints store weights in; `auto`: each tensor's own dtype"
    )
    training: Training = Field(
        description="how the job trains; of a job of kind measure how records are read, which no other job chooses"
    )
    records: SocketRecords | FileRecords = Field(discriminator="source")
    scratch: Path | None = Field(default=None, description="a private directory for what does not fit in memory")
    measure: list[str | MeasurementChoice] = Field(default=["standard"], description="measurements, or groups of them")
    retrained: Path | None = Field(default=None, description="a model retrained without the forget set")
    cache: Path | None = Field(default=None, description="a directory where what was measured is kept for later jobs")
    cache_forgotten: bool = Field(
        default=False, description="values of the forget set's records too: for benchmarks, whose records are nobody's"
    )
    benchmark_tasks: Path | None = Field(default=None, description="the operator's definitions of benchmark tasks")
    benchmark_code: bool = Field(default=False, description="benchmark tasks may run code that the model writes")
    training_tokens: int | None = Field(default=None, ge=1, description="that the model was trained on, once each")
    expected: ExpectedTokens | None = Field(default=None, description="by which the job says how far it is")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; default: as many as this process may use")

    @classmethod
    def from_spec(cls, spec: "CommonSpec", **fields: Any) -> Self:
        """Returns a job of this kind with the common fields of a spec of any kind, and further fields."""
        common = {name: getattr(spec, name) for name in CommonSpec.model_fields}
        return cls.model_validate(common | fields)

    @property
    def model_directory(self) -> Path:
        """A directory that holds a whole model, config and tokenizer included."""
        return self.directory

    @property
    def compared_models(self) -> list[Path]:
        """The models that are measured beside the job's own."""
        return [] if self.retrained is None else [self.retrained]

    @property
    def processes(self) -> int:
        """Processes that share the job, one per GPU."""
        return 1

    def adapter_base(self, directory: Path) -> Path | None:
        """The model that the adapter in a directory belongs to; None: the directory holds a whole model."""
        return None


class UnlearnSpec(CommonSpec):
    """A job that unlearns: it measures, trains, saves a checkpoint, and measures what it saved."""

    kind: Literal["unlearn"] = "unlearn"
    start: str | None = Field(default=None, description="the checkpoint that `directory` is; null: the model itself")
    method: ChildMethod
    output: Path = Field(description="an empty or absent directory that the checkpoint is written to")
    deliver: Output = Field(default="full", description="what the checkpoint holds of a model with an adapter")
    ranks: int = Field(default=1, ge=1, le=64, description="processes that share the job, one per GPU")
    snapshots: Path | None = Field(default=None, description="where this job's snapshots are kept; none without it")
    policy: Policy | None = Field(default=None, description="what the saved model is held to; none: no verdict")

    @property
    def processes(self) -> int:
        return self.ranks

    def adapter_base(self, directory: Path) -> Path | None:
        return self.directory if directory == self.output and self.deliver == "adapter" else None


class PreviewSpec(CommonSpec):
    """A dry run: measures what the model remembers of the forget set, and changes nothing."""

    kind: Literal["preview"] = "preview"


class MeasureSpec(CommonSpec):
    """Measures a model, or an adapter on its base, and changes nothing."""

    kind: Literal["measure"] = "measure"
    original: Path | None = Field(
        default=None, description="the model that the measured one was made from, to compare with"
    )
    base: Path | None = Field(default=None, description="where `directory` holds an adapter alone: its model")
    policy: Policy | None = Field(default=None, description="what the measured model is held to; none: no verdict")

    @property
    def model_directory(self) -> Path:
        return self.base or self.directory

    @property
    def compared_models(self) -> list[Path]:
        return [*super().compared_models, *([] if self.original is None else [self.original])]

    def adapter_base(self, directory: Path) -> Path | None:
        return self.base if directory == self.directory else None


def _kind(spec: Any) -> Any:
    """Reads the kind of a spec or of its JSON object, which is `unlearn` where the object names none."""
    return spec.get("kind", "unlearn") if isinstance(spec, dict) else getattr(spec, "kind", None)


JobSpec = Annotated[
    Annotated[UnlearnSpec, Tag("unlearn")]
    | Annotated[PreviewSpec, Tag("preview")]
    | Annotated[MeasureSpec, Tag("measure")],
    Discriminator(
        _kind,
        custom_error_type="job_kind",
        custom_error_message="kind is one of: unlearn (the default), preview, measure",
    ),
]
JOB_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec, config=ConfigDict(hide_input_in_errors=True))
