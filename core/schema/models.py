"""Base models: what a registration asks for and what the service knows of it."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from core.schema.default_policy import DEFAULT_POLICY
from core.schema.policies import POLICY_NAME
from core.schema.strict import Answer, Strict

ModelStatus = Literal["fetching", "ready", "failed"]
ReleasePolicy = Literal["on_pass", "always"]
MODEL_ID = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,95}$"


class Defaults(Strict):
    """The files a job on this model uses where it names none."""

    retain: str | None = Field(default=None, description="id of a file with what must survive")
    unseen: str | None = Field(default=None, description="id of a file with text that the model never saw")
    general: str | None = Field(default=None, description="id of a file with text for general ability")
    probes: str | None = Field(default=None, description="id of a file with questions that must still be answered")


class ModelRequest(Strict):
    """`POST /v1/models`."""

    id: str = Field(pattern=MODEL_ID, examples=["demo"], description="the name that jobs use")
    source: str = Field(
        min_length=1,
        max_length=1024,
        description="a directory under the organisation's allowed roots, or `hf:org/name@revision`",
        examples=["hf:meta-llama/Llama-3.2-1B@main"],
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="what checkpoints store weights in: `auto` keeps each tensor's own dtype, another takes the place"
        " of the dtype that most weights have",
    )
    defaults: Defaults = Field(default=Defaults(), description="files that its jobs use where a request names none")
    release: ReleasePolicy | None = Field(
        default=None, description="default: the operator's setting; `always` takes the scope `release:write`"
    )
    policy: str = Field(
        default=DEFAULT_POLICY.name,
        pattern=POLICY_NAME,
        description="what every job on this model is held to; a request can tighten it, never loosen it",
    )
    training_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10**18,
        description="tokens of the text that the model was trained on, of all epochs: what a retraining would cost is"
        " reckoned from it. Null: unknown",
        examples=[9_000_000_000_000],
    )


class TensorGroup(Strict):
    """Weights that differ by the numbers in their names alone, such as one matrix of every layer."""

    name: str = Field(description="with `*` for each number, such as `model.layers.*.mlp.up_proj.weight`")
    shape: list[int] = Field(description="of each tensor")
    count: int = Field(description="how many tensors there are")
    first: int = Field(default=0, description="the lowest of the first number")


class MergedAdapter(Strict):
    """What a registered adapter was merged from."""

    adapter: str = Field(description="digest of the adapter's directory, as of a model's")
    base: str = Field(description="the base as adapter_config.json names it")
    base_digest: str = Field(description="digest of the base's directory")


class ModelShape(Strict):
    """What config and safetensors headers say, read without torch.

    What has a default was not read of models that were registered before it was.
    """

    architecture: str = Field(description="the class that config.json names")
    parameters: int = Field(description="weights in all")
    bytes: int = Field(description="of the weights' files")
    hidden_size: int = Field(description="width of the residual stream")
    layers: int = Field(description="how many")
    heads: int | None = Field(description="of attention; null: the model has none, or does not say")
    vocabulary: int = Field(description="tokens that the model knows")
    context: int | None = Field(description="tokens; null: the model has no limit of its own")
    dtype: str = Field(description="of most weights")
    intermediate: int | None = Field(default=None, description="a token's width in the feed-forward layers")
    key_value_heads: int | None = Field(default=None, description="of attention, where they are fewer than its heads")
    head_size: int | None = Field(default=None, description="width of one head")
    tied: bool | None = Field(default=None, description="the head is the embedding")
    bytes_per_token: float | None = Field(default=None, description="of a text of names and numbers")
    tensors: list[TensorGroup] = Field(default=[], description="the weights, those of all layers as one")
    merged: MergedAdapter | None = Field(default=None, description="of an adapter that was registered with its base")

    def within_context(self, length: int) -> int:
        """The length in tokens, or the context where that is shorter."""
        return length if self.context is None else min(length, self.context)


class WeightCheckResult(Strict):
    """What a process that knows the architectures says of a model directory."""

    error: str | None = None
    context: int | None = None


class Model(Answer):
    id: str = Field(description="its id")
    object: Literal["model"] = Field(default="model", description="always `model`")
    source: str = Field(description="the directory, or `hf:org/name@revision`")
    revision: str | None = Field(description="the commit that a Hub repository was pinned to")
    digest: str | None = Field(description="sha256 of the canonical JSON of {path, bytes, sha256} of all files")
    dtype: str = Field(description="that checkpoints are written in; `auto`: each weight's own")
    status: ModelStatus = Field(description="`fetching`, then `ready` or `failed`")
    error: str | None = Field(description="why it failed")
    shape: ModelShape | None = Field(description="what its files say; null until they were read")
    defaults: Defaults = Field(description="files that its jobs use where a request names none")
    release: ReleasePolicy = Field(description="which checkpoints need no person's release")
    policy: str = Field(description="the name of the one that is pinned")
    training_tokens: int | None = Field(
        description="that the model was trained on, as its registration says; null: unknown, and with it the share of a"
        " retraining that a job costs"
    )
    head: str | None = Field(description="the newest released checkpoint; null: the base model itself")
    created_at: datetime = Field(description="when it was registered")
