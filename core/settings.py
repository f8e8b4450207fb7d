"""The operator's settings, read from environment variables (see docs/operations.md)."""

from datetime import timedelta
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.schema.models import ReleasePolicy
from core.schema.preflight import WorkerClass


class Settings(BaseSettings):
    """One environment variable per field, by its name in capitals; unknown variables are ignored."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True, frozen=True)

    # the servers
    database_url: SecretStr = Field(description="postgresql+asyncpg://…")
    migration_database_url: SecretStr | None = Field(
        default=None, description="DATABASE_URL of the role that owns the tables, for `unlearn migrate` alone"
    )
    signer_database_url: SecretStr | None = Field(
        default=None, description="DATABASE_URL of the signer's role, for `unlearn migrate` alone"
    )
    redis_url: SecretStr = Field(description="redis://, rediss:// or redis+socket://")
    storage_url: str = Field(
        default="postgres://",
        description="storage of checkpoints and uploads: postgres://, file:///dir, s3://, gs:// or az://",
    )
    service_key_file: Path = Field(
        description="file with 32 random bytes in base64: wraps the key of every uploaded file, and hashes API keys"
    )
    key_store_url: str | None = Field(
        default=None,
        description="store of the uploads' wrapped keys, apart from the database: file:///dir, s3://, gs:// or az://",
    )
    admin_key_file: Path | None = Field(
        default=None, description="file with an admin API key that is accepted from the first start on"
    )
    release_key_file: Path | None = Field(
        default=None, description="file with an API key that may release checkpoints, accepted from the first start on"
    )

    # the API
    model_roots: Annotated[list[Path], NoDecode] = Field(
        default=[], description="colon-separated directories that models may be registered from"
    )
    hub_allow: Annotated[list[str], NoDecode] = Field(
        default=[], description="comma-separated Hub repositories that may be registered, `org/*` allowed"
    )
    hf_endpoint: str = Field(default="https://huggingface.co", description="the Hub, or a mirror of it")
    hf_token_file: Path | None = Field(default=None, description="file with a token for the Hub")
    model_cache: Path = Field(default=Path("models"), description="folder of fetched repositories and merged models")
    release: ReleasePolicy = Field(
        default="on_pass", description="which checkpoints need no person's release, for models that do not say so"
    )
    max_file_bytes: int = Field(default=1 << 30, description="largest upload")
    max_record_bytes: int = Field(default=1 << 20, description="largest record of an upload")
    max_body_bytes: int = Field(default=2 << 20, description="largest body of any other request")
    signed_url_seconds: int = Field(
        default=0,
        ge=0,
        le=7 * 86400,
        description="lifetime of the object store's URL that a download is sent on to; 0: the service sends bytes",
    )
    file_retention_days: int = Field(default=90, description="days after its upload that a used file is kept")
    unused_file_hours: int = Field(
        default=24, ge=1, description="hours after its upload that a file is kept which no job or model uses"
    )
    rate_limit_per_minute: int = Field(default=1200, description="requests of one key; 0: no limit")
    webhook_allow: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="comma-separated host names and networks that webhooks may reach at private addresses and by HTTP",
    )
    worker_classes: list[WorkerClass] = Field(
        default=[],
        description='JSON list of {"name", "gpus", "memory_bytes"}: a job that fits none of these machines is refused',
    )
    console: bool = Field(default=True, description="whether `/` shows the console")

    # the worker
    scratch_dir: Path = Field(
        default=Path("scratch"), description="a worker's working folder, on a local disk that outlives the worker"
    )
    keep_measurements: bool = Field(
        default=True, description="keep measurements of a model, and texts that it wrote, in SCRATCH_DIR for later jobs"
    )
    benchmark_tasks_dir: Path | None = Field(
        default=None, description="definitions of benchmark tasks (YAML), and the data and code that they name"
    )
    benchmark_code: bool = Field(default=False, description="benchmark tasks may run code that the model writes")
    worker_slots: int = Field(default=1, ge=1, description="jobs without GPUs that a worker runs at a time")
    worker_warm_children: int = Field(
        default=1, ge=0, le=1, description="processes that wait for the next job with everything imported"
    )
    worker_throughput: bool = Field(
        default=True, description="measure this machine's throughput at the first start, for estimates of a job's time"
    )
    worker_gpus: Annotated[list[int], NoDecode] | None = Field(
        default=None, description="comma-separated GPU indices of this worker; default: all that nvidia-smi lists"
    )
    worker_metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="port on which a worker answers GET /metrics; none: it does not"
    )
    worker_metrics_address: str = Field(default="127.0.0.1", description="address of that port")
    gpu_lock_dir: Path = Field(
        default=Path("/var/lock"), description="folder of one lock file per GPU, shared by the workers of a machine"
    )
    lease_seconds: float = Field(
        default=30.0, gt=0, description="a worker that is silent for so long loses its job to another worker"
    )
    heartbeat_seconds: float = Field(default=5.0, gt=0, description="interval at which a worker renews its leases")
    sweep_seconds: float = Field(
        default=5.0, gt=0, description="interval at which a worker looks for lost jobs and gives a sign of life"
    )
    child_silence_seconds: float = Field(
        default=1800.0, gt=0, description="a job's process that gives no sign of life for so long is ended"
    )
    max_failures: int = Field(default=3, ge=1, description="attempts that may fail by the service's fault")
    shutdown_seconds: float = Field(
        default=20.0, ge=0, description="time for running jobs to save a snapshot when a worker is told to stop"
    )
    job_threads: int | None = Field(default=None, ge=1, description="CPU threads of one job; default: as many as fit")

    # the signer
    signing_dir: Path = Field(default=Path("signing"), description="folder of the signer's private keys")
    head_signing_seconds: float = Field(
        default=60.0, gt=0, description="interval at which the signer signs the heads of audit logs"
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is logged"
    )

    @model_validator(mode="after")
    def _heartbeats_renew_the_lease(self) -> "Settings":
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("LEASE_SECONDS must be at least twice HEARTBEAT_SECONDS, or every job is taken back")
        return self

    @field_validator("model_roots", mode="before")
    @classmethod
    def _paths(cls, value: object) -> object:
        return [Path(path) for path in value.split(":") if path] if isinstance(value, str) else value

    @field_validator("hub_allow", "webhook_allow", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("webhook_allow")
    @classmethod
    def _hosts_and_networks(cls, entries: list[str]) -> list[str]:
        for entry in entries:
            if "/" in entry or ":" in entry:
                ip_network(entry, strict=False)
        return entries

    @field_validator("worker_gpus", mode="before")
    @classmethod
    def _indices(cls, value: object) -> object:
        return [int(index) for index in value.split(",") if index.strip()] if isinstance(value, str) else value

    @property
    def retention(self) -> timedelta:
        """How long after its upload a file is kept that a job or a model uses."""
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
