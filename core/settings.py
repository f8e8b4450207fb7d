"""Everything an operator may set, read from the environment (see docs/operations.md)."""

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.schema.models import ReleasePolicy
from core.schema.preflight import WorkerClass


class Settings(BaseSettings):
    """One environment variable per field, by its name in capitals; unknown variables are nobody's business."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, frozen=True)

    # the servers
    database_url: SecretStr = Field(description="postgresql+asyncpg://…")
    redis_url: SecretStr = Field(description="redis://, rediss:// or redis+socket://")
    storage_url: str = Field(
        default="postgres://", description="where checkpoint bytes live: postgres:// or file:///dir"
    )
    service_key_file: Path = Field(description="32 random bytes, base64: wraps the key of every uploaded file")
    admin_key_file: Path | None = Field(default=None, description="an admin API key to accept from the first start on")

    release_key_file: Path | None = Field(
        default=None, description="an API key that may release checkpoints, to accept from the first start on"
    )

    # the API
    model_roots: Annotated[list[Path], NoDecode] = Field(
        default=[], description="colon-separated directories that models may be registered from"
    )
    hub_allow: Annotated[list[str], NoDecode] = Field(
        default=[], description="comma-separated Hub repositories that may be registered, `org/*` allowed"
    )
    hf_endpoint: str = "https://huggingface.co"
    hf_token_file: Path | None = None
    model_cache: Path = Field(
        default=Path("models"), description="where fetched repositories and merged models are kept"
    )
    release: ReleasePolicy = "on_pass"
    max_file_bytes: int = 1 << 30
    max_record_bytes: int = 1 << 20
    max_body_bytes: int = Field(default=2 << 20, description="every body that is not an upload")
    file_retention_days: int = 90
    unused_file_hours: int = Field(default=24, ge=1, description="how long an upload lives that no request has used")
    rate_limit_per_minute: int = Field(default=1200, description="requests of one key; 0: no limit")
    worker_classes: list[WorkerClass] = Field(
        default=[],
        description='JSON list of {"name", "gpus", "memory_bytes"}: jobs that none of them can hold are refused',
    )
    console: bool = True

    # the worker
    scratch_dir: Path = Path("scratch")
    keep_measurements: bool = Field(
        default=True, description="keep what was measured of a model in SCRATCH_DIR, for later jobs on the same data"
    )
    benchmark_tasks_dir: Path | None = Field(
        default=None, description="definitions of benchmark tasks (YAML), and the data and code that they name"
    )
    benchmark_code: bool = Field(default=False, description="benchmark tasks may run code that the model writes")
    worker_slots: int = Field(default=1, ge=1, description="jobs without GPUs that a worker does at a time")
    worker_warm_children: int = Field(
        default=1, ge=0, le=1, description="processes that wait with everything imported for the next job"
    )
    worker_gpus: Annotated[list[int], NoDecode] | None = Field(
        default=None, description="comma-separated GPU indices of this worker; default: all that nvidia-smi lists"
    )
    worker_metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="where a worker answers GET /metrics; none: it does not"
    )
    worker_metrics_address: str = "127.0.0.1"
    gpu_lock_dir: Path = Field(
        default=Path("/var/lock"), description="one lock file per GPU, shared by the workers of a machine"
    )
    lease_seconds: float = Field(default=30.0, gt=0)
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    sweep_seconds: float = Field(default=5.0, gt=0)
    child_silence_seconds: float = Field(
        default=1800.0, gt=0, description="a job's process that gives no sign of life for so long is ended"
    )
    max_failures: int = Field(default=3, ge=1, description="attempts that may fail by the service's fault")
    shutdown_seconds: float = Field(
        default=20.0, ge=0, description="how long a worker that is told to stop gives its jobs to save a snapshot"
    )
    job_threads: int | None = Field(default=None, ge=1, description="CPU threads of a child")

    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _beats_before_the_lease_ends(self) -> "Settings":
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("LEASE_SECONDS must be at least twice HEARTBEAT_SECONDS, or every job is taken back")
        return self

    @field_validator("model_roots", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        return [Path(one) for one in value.split(":") if one] if isinstance(value, str) else value

    @field_validator("hub_allow", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return [one.strip() for one in value.split(",") if one.strip()] if isinstance(value, str) else value

    @field_validator("worker_gpus", mode="before")
    @classmethod
    def _indices(cls, value: object) -> object:
        return [int(one) for one in value.split(",") if one.strip()] if isinstance(value, str) else value

    @property
    def retention(self) -> timedelta:
        """How long a file lives that a job or a model uses, from its upload."""
        return timedelta(days=self.file_retention_days)

    def service_key(self) -> bytes:
        """The 32 bytes that wrap the files' keys. ValueError where the file does not hold them."""
        import base64

        key = base64.b64decode(self.service_key_file.read_text().strip())
        if len(key) != 32:
            raise ValueError(f"{self.service_key_file.name} does not hold 32 bytes in base64")
        return key


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
