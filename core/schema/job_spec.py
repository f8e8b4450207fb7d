"""The job spec, one JSON line on the child process's standard input, and the ways in which the child gets its records.

The spec never holds records. The child fetches them over a 0600 Unix socket with a one-time token, or, when a person
runs it by hand (`unlearn run`), reads the files that the spec names.
"""

from base64 import b64decode
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    SecretBytes,
    Tag,
    TypeAdapter,
    field_serializer,
    field_validator,
)

from core.schema.evaluation import MeasurementChoice, SetName
from core.schema.job_sources import RetainKind
from core.schema.jobs import Output, Part, SetUsed
from core.schema.policies import Policy
from core.schema.previously_forgotten import EarlierRequest, Unread
from core.schema.record import Record
from core.schema.strict import Strict
from core.schema.training import Training


class RecordSet(Strict):
    """The records of one set. The socket carries one JSON line for each set, in any order, then end of file."""

    name: SetName
    kind: RetainKind | None = None
    weight: float = 1.0
    part: Part | None = None
    job: str | None = None
    """The job that the set belongs to, of the companions of this job in its run; None: this job, or all of them."""
    earlier: str | None = None
    """The earlier job that made the model forget these records; None: a set of this job."""
    positions: list[int] | None = None
    """Of an earlier job's records: the places in `records`, from 0, of those that are measured again."""
    unread: Unread | None = None
    """Why an earlier job's records cannot be measured: then `records` ends where reading ended. None: they can be."""
    forgotten: list[int] | None = None
    """Of a set of this job: the places of records that an earlier job had to forget, by the digests that were kept."""
    records: list[Record]


class SocketRecords(Strict):
    """Records from a socket: the child connects, sends `token` and a newline, and reads RecordSet lines to the end."""

    source: Literal["socket"] = "socket"
    path: Path
    token: str


class SetFile(Strict):
    """A file of one set, as a job uses it."""

    name: SetName
    path: Path
    kind: RetainKind | None = None
    part: Part | None = None


class FileRecords(Strict):
    """Files on this machine, of any format that an upload may have, for runs without a server."""

    source: Literal["files"] = "files"
    sets: list[SetFile] = Field(default=[], description="Files of any set, in the order in which a job reads them.")
    forget: Path | None = None
    retain: list[Path] = []
    general: list[Path] = Field(default=[], description="Retain files of kind `general`.")
    only_general: Path | None = Field(default=None, description="General text that is used for measuring only.")
    unseen: Path | None = None
    probes: Path | None = None
    protected: Path | None = None


class ExpectedTokens(Strict):
    """Tokens that the job's estimate expects to go through the model."""

    measured: float = Field(ge=0, description="Tokens of all measurements, before and after together.")
    updates: float = Field(ge=0, description="Tokens of all updates.")


class SealedFolder(Strict):
    """A folder on this machine whose files are sealed under one key."""

    folder: Path
    key: SecretBytes = Field(description="The key: 32 bytes, in base64.")

    @property
    def key_bytes(self) -> bytes:
        """The key itself, 32 bytes."""
        return b64decode(self.key.get_secret_value())

    @field_validator("key", mode="after")
    @classmethod
    def _has_length(cls, key: SecretBytes) -> SecretBytes:
        if len(b64decode(key.get_secret_value())) != 32:
            raise ValueError("the key has 32 bytes, in base64")
        return key

    @field_serializer("key", when_used="json")
    def _to_the_child(self, key: SecretBytes) -> str:
        return key.get_secret_value().decode()


class ChildMethod(Strict):
    """The method's name and parameters."""

    name: str
    parameters: dict[str, Any]


class CommonSpec(Strict):
    """The fields of a spec that every kind of job has."""

    version: Literal[1] = 1
    job: str = Field(description="The job's id.")
    fence: int = Field(default=0, description="The fence of the attempt. It is part of the path of each snapshot.")
    model: str = Field(description="The registered model's id, for the model card.")
    directory: Path = Field(description="θ0, the model that the job starts from.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="The dtype of weights in checkpoints. `auto`: each tensor keeps its own."
    )
    training: Training = Field(
        description="Settings of the training. Only in a job of kind measure they also decide how records are read to"
        " be measured."
    )
    records: SocketRecords | FileRecords = Field(discriminator="source")
    scratch: Path | None = Field(default=None, description="A private directory for data that does not fit in memory.")
    measure: list[str | MeasurementChoice] = Field(default=["standard"], description="Measurements, or groups of them.")
    retrained: Path | None = Field(default=None, description="A model retrained without the forget set.")
    cache: Path | None = Field(default=None, description="A directory that keeps measured values for later jobs.")
    cache_forgotten: bool = Field(
        default=False,
        description="Whether the cache keeps values of the forget set's records too. For benchmarks only, whose"
        " records are not personal data.",
    )
    benchmark_tasks: Path | None = Field(default=None, description="The operator's definitions of benchmark tasks.")
    benchmark_code: bool = Field(
        default=False, description="Whether benchmark tasks may run code that the model writes."
    )
    training_tokens: int | None = Field(default=None, ge=1, description="Tokens that the model was trained on.")
    expected: ExpectedTokens | None = Field(
        default=None, description="Expected tokens, from which the job computes its progress."
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads. Default: as many as this process may use."
    )

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
    def original_directory(self) -> Path | None:
        """The model that measured models were made from; None where the job does not know it."""
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
    start: str | None = Field(
        default=None, description="The checkpoint that `directory` holds. Null: it holds the registered model."
    )
    data: list[SetUsed] = Field(default=[], description="The job's sets as the API shows them, for the model card.")
    companions: list[str] = Field(
        default=[],
        description="The jobs that share this run. Their forget sets and probes are theirs alone, all other sets are"
        " common.",
    )
    earlier: list[EarlierRequest] = Field(
        default=[], description="The jobs that made the model in `directory`, the newest first."
    )
    samples: SealedFolder | None = Field(
        default=None, description="Texts that the model wrote for earlier jobs. Null: they are written anew."
    )
    method: ChildMethod
    output: Path = Field(description="An empty or absent directory that the checkpoint is written to.")
    deliver: Output = Field(default="full", description="What the checkpoint holds of a model with an adapter.")
    ranks: int = Field(default=1, ge=1, le=64, description="Processes that share the job, one per GPU.")
    snapshots: SealedFolder | None = Field(
        default=None,
        description="This job's snapshots, and what else its later attempts read, under the job's own key. Null: no"
        " snapshots.",
    )
    policy: Policy | None = Field(
        default=None, description="The policy that the saved model must meet. Null: no verdict."
    )

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
        default=None, description="The model that the measured one was made from, to compare with."
    )
    base: Path | None = Field(
        default=None, description="The adapter's base model, if `directory` holds an adapter alone."
    )
    policy: Policy | None = Field(
        default=None, description="The policy that the measured model must meet. Null: no verdict."
    )

    @property
    def model_directory(self) -> Path:
        return self.base or self.directory

    @property
    def original_directory(self) -> Path | None:
        return self.original or self.base

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
