"""The measured throughput of a worker's devices: a line of the process that measures it, and a column of `workers`."""

from typing import Literal

from pydantic import Field, RootModel

from core.schema.strict import Strict

Place = Literal["cpu", "gpu"]
"""The device of a job: `cpu` for a job without GPUs, `gpu` for each GPU of a job with some."""


class Throughput(Strict):
    """Model FLOPs a second (as `core.lm.flops` counts them) of a small Llama with random weights on one device."""

    width: int = Field(gt=0, description="The hidden size of the model that was measured.")
    forward: float = Field(gt=0, description="FLOPs a second of a forward pass, in the precision of measurements.")
    update: float = Field(gt=0, description="FLOPs a second of a forward and a backward pass, in that of training.")


class Throughputs(RootModel[dict[Place, Throughput]]):
    """The throughput of each kind of device that a worker has measured."""
