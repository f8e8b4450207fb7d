"""The code, the libraries and the machine that a job ran on."""

from pydantic import Field

from core.schema.strict import Strict


class Environment(Strict):
    """The code, the libraries and the machine of one attempt at a job, as its process reports them when it starts."""

    service_version: str = Field(description="The version of the service.")
    code_digest: str = Field(
        description="The sha256 of the program files that load, train, save and measure: of each Python file below"
        " `core`, in order of path, the path, a zero byte and the content."
    )
    measuring_digest: str = Field(
        description="The sha256 of those program files alone that decide the figures. It is made in the same way."
    )
    python: str = Field(description="The version of Python.")
    libraries: dict[str, str] = Field(description="The version of each library that computes.")
    system: str = Field(description="The operating system and the type of the processor.")
    processor: str = Field(description="The processor's name.")
    device: str = Field(description="The device that computed: the GPU's name, or `cpu`.")
    devices: int = Field(description="The number of GPUs. 0: the processor computed.")
    cuda: str | None = Field(default=None, description="The version of CUDA. Null: the processor computed.")
    threads: int = Field(description="The number of threads of the processor that computed.")
