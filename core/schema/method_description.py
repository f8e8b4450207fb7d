"""The description of an unlearning method, as the API lists it."""

from typing import Any, Literal

from pydantic import Field

from core.schema.strict import Answer


class MethodDescription(Answer):
    """A method: its purpose, the data that it needs, its parameters and its source."""

    name: str = Field(description="the name by which a job chooses the method")
    object: Literal["method"] = Field(default="method", description="always `method`")
    summary: str = Field(description="what the method does")
    formula: str = Field(
        description="the forget term: l_t = -log p(x_t | x_<t), n scored tokens; p0 and l0 are the reference model's"
    )
    needs: list[str] = Field(
        description="needed with default parameters: sets of records, or outputs of the reference model (`original`)"
    )
    retain_terms: list[str] = Field(description="the retain terms that it supports")
    parameters: dict[str, Any] = Field(description="JSON schema of the fields beside `name` in a job's `method`")
    defaults: dict[str, Any] = Field(description="the default values of its parameters")
    training_defaults: dict[str, dict[str, Any]] = Field(
        description="training defaults for small models and for models with billions of weights"
    )
    source: dict[str, str] = Field(description="the paper: title and URL")
