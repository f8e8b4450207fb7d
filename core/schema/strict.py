"""The two bases every model of this language stands on."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Input from outside: an unknown field is an error, and an error never echoes the input (it may be forget data)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Answer(BaseModel):
    """What the service says: unknown fields are errors here too, so that a renamed column cannot pass unseen."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, from_attributes=True)
