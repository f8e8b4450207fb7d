"""The two kinds of pydantic models here: strict input, and what the API answers."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Input from outside. An unknown field is an error, and an error never echoes the input (it may be forget data)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class Answer(BaseModel):
    """Output of the API. An unknown field is an error here too, so that a renamed column cannot pass unseen."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, from_attributes=True)
