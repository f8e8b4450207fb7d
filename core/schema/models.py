"""Base models: the request that registers one, and the model as the API shows it."""

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
    """The files that a job on this model uses unless its request names others."""

    retain: str | None = Field(default=None, description="The id of a file with text that the model must keep.")
    unseen: str | None = Field(default=None, description="The id of a file with text that the model never saw.")
    general: str | None = Field(
        default=None, description="The id of a file with text that shows the model's general ability."
    )
    probes: str | None = Field(
        default=None, description="The id of a file with questions that the model must still answer."
    )


class ModelRequest(Strict):
    """The body of `POST /v1/models`."""

    id: str = Field(pattern=MODEL_ID, examples=["demo"], description="The model's name, which jobs use.")
    source: str = Field(
        min_length=1,
        max_length=1024,
        description="A directory below one of the organisation's allowed folders, or a model of the Hugging Face Hub:"
        " `hf:org/name@revision`.",
        examples=["hf:meta-llama/Llama-3.2-1B@main"],
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="The number format of the weights in checkpoints. `auto`: each tensor keeps its own format. Any"
        " other value replaces the format that most weights have.",
    )
    defaults: Defaults = Field(
        default=Defaults(), description="The files that jobs use unless their request names others."
    )
    release: ReleasePolicy | None = Field(
        default=None,
        description="`on_pass`: a checkpoint that passes its policy is released, any other waits for a person."
        " `always`: every checkpoint is released; this needs the scope `release:write`. Default: the operator's"
        " setting.",
    )
    policy: str = Field(
        default=DEFAULT_POLICY.name,
        pattern=POLICY_NAME,
        description="The name of the policy that every job on this model must meet. A request can make it stricter,"
        " never looser.",
    )
    training_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10**18,
        description="Tokens of the text that the model was trained on, counted in every epoch. The cost of a retraining"
        " is estimated from it. Null: unknown.",
        examples=[9_000_000_000_000],
    )


class TensorGroup(Strict):
    """Tensors of one shape whose names differ by numbers only, such as the same matrix of every layer."""

    name: str = Field(description="The name with `*` for each number, such as `model.layers.*.mlp.up_proj.weight`.")
    shape: list[int] = Field(description="The shape of each tensor.")
    count: int = Field(description="The number of tensors.")
    first: int = Field(default=0, description="The lowest value of the first number in the names.")


class MergedAdapter(Strict):
    """The adapter and the base that a registered model was merged from."""

    adapter: str = Field(description="The digest of the adapter's directory.")
    base: str = Field(description="The base model's name in adapter_config.json.")
    base_digest: str = Field(description="The digest of the base model's directory.")


class ModelShape(Strict):
    """A model's sizes, read without torch from its config and the headers of its safetensors files.

    A field with a default is absent for models that were registered before the service read it.
    """

    architecture: str = Field(description="The model's class, as config.json names it.")
    parameters: int = Field(description="The number of weights.")
    bytes: int = Field(description="The size of the weights' files in bytes.")
    hidden_size: int = Field(description="The width of the residual stream.")
    layers: int = Field(description="The number of layers.")
    heads: int | None = Field(
        description="The number of attention heads. Null: the model has none, or its config does not say."
    )
    vocabulary: int = Field(description="The number of tokens that the model knows.")
    context: int | None = Field(
        description="Tokens of the longest text that the model reads. Null: the model has no limit of its own."
    )
    dtype: str = Field(description="The number format of most weights.")
    intermediate: int | None = Field(default=None, description="The width of a token in the feed-forward layers.")
    key_value_heads: int | None = Field(
        default=None, description="The number of key and value heads. Null: as many as `heads`."
    )
    head_size: int | None = Field(default=None, description="The width of one attention head.")
    tied: bool | None = Field(default=None, description="Whether the output head is the token embedding.")
    bytes_per_token: float | None = Field(
        default=None, description="Bytes of text per token, for a text of names and numbers."
    )
    tensors: list[TensorGroup] = Field(
        default=[], description="The weights. The same weight of all layers is one entry."
    )
    merged: MergedAdapter | None = Field(
        default=None, description="For a model that was registered as an adapter with its base: what was merged."
    )

    def within_context(self, length: int) -> int:
        """Returns a length in tokens, cut to the model's context."""
        return length if self.context is None else min(length, self.context)


class WeightCheckResult(Strict):
    """The result of checking a model directory in a process that knows the architectures (core.lm.weight_check)."""

    error: str | None = Field(default=None, description="Why the directory cannot be used. Null: it can be used.")
    context: int | None = Field(default=None, description="Tokens of the longest text, if the architecture limits it.")


class Model(Answer):
    """A registered model as the API shows it."""

    id: str = Field(description="The model's id.")
    object: Literal["model"] = Field(default="model", description="Always `model`.")
    source: str = Field(description="The directory, or `hf:org/name@revision`.")
    revision: str | None = Field(description="For a model of the Hub: the commit that it is fixed to.")
    digest: str | None = Field(
        description="The model's digest: the sha256 of the canonical JSON of {path, bytes, sha256} of all its files."
    )
    dtype: str = Field(description="The number format of weights in checkpoints. `auto`: each tensor keeps its own.")
    status: ModelStatus = Field(description="`fetching` at first, then `ready` or `failed`.")
    error: str | None = Field(description="Why the registration failed.")
    shape: ModelShape | None = Field(description="The model's sizes. Null until its files are read.")
    defaults: Defaults = Field(description="The files that jobs use unless their request names others.")
    release: ReleasePolicy = Field(
        description="`on_pass`: a checkpoint that passes its policy is released, any other waits for a person."
        " `always`: every checkpoint is released."
    )
    policy: str = Field(description="The name of the policy that every job on this model must meet.")
    training_tokens: int | None = Field(
        description="Tokens that the model was trained on, as its registration says. Null: unknown; then a job's share"
        " of the cost of a retraining is unknown too."
    )
    head: str | None = Field(
        description="The id of the newest released checkpoint, from which jobs start. Null: they start from the base"
        " model."
    )
    created_at: datetime = Field(description="When the model was registered.")
