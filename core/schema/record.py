"""A record: a text to forget, to keep or to measure on, in one of three shapes."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from core.schema.strict import Strict


class Message(Strict):
    role: Literal["system", "user", "assistant"] = Field(description="who speaks")
    content: str = Field(min_length=1, description="what is said")


class Record(Strict):
    """One record in one of three shapes: `text`, `prompt` + `completion`, or `messages`.

    Scored positions: every token but the first of a plain text; of the other two shapes the completion alone
    (of `messages`: the last assistant turn), with the end-of-sequence token where the record ends there.
    That scored text is the record's answer, to which `paraphrased_answer`, `wrong` and `alternate` are others.
    """

    text: str | None = Field(default=None, description="a plain text")
    prompt: str | None = Field(default=None, description="what is asked, with `completion`")
    completion: str | None = Field(default=None, description="the answer, which is scored")
    messages: list[Message] | None = Field(
        default=None, description="a conversation that ends with the assistant's turn"
    )
    id: str | None = Field(default=None, max_length=256, description="the owner's own name for it")
    subject: str | None = Field(default=None, max_length=256, description="whom or what the record is about")
    group: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="of probes: which it belongs to, such as `retain`, `real_authors`, `world_facts`",
    )
    alternate: str | None = Field(default=None, description="what some methods make the model say instead")
    paraphrases: list[str] | None = Field(default=None, description="the prompt in other words")
    paraphrased_answer: str | None = Field(default=None, description="the right answer in other words")
    wrong: list[str] | None = Field(default=None, description="wrong answers of the same form; blank ones do not count")

    @model_validator(mode="after")
    def _one_shape(self) -> "Record":
        pair = self.prompt is not None or self.completion is not None
        if (self.text is not None) + pair + (self.messages is not None) != 1:
            raise ValueError("a record has exactly one of: text, prompt with completion, messages")
        if pair and (self.prompt is None or self.completion is None):
            raise ValueError("prompt and completion belong together")
        scored = self.text if self.text is not None else self.completion
        if scored is not None and not scored.strip():
            raise ValueError("the record is empty")
        if self.messages is not None and (not self.messages or self.messages[-1].role != "assistant"):
            raise ValueError("messages end with the assistant's turn, which is what is scored")
        if self.messages is not None and not self.messages[-1].content.strip():
            raise ValueError("the record is empty")
        if self.paraphrased_answer is not None and not self.paraphrased_answer.strip():
            raise ValueError("the paraphrased answer is empty")
        return self

    def content(self) -> Iterator[str]:
        """The text that the record is: its shape's, without what is asked about it beside."""
        if self.messages is not None:
            yield from (message.content for message in self.messages)
        yield from (piece for piece in (self.text, self.prompt, self.completion) if piece is not None)

    def strings(self) -> Iterator[str]:
        """Every piece of text in the record that is tokenized: what the limit in bytes counts."""
        yield from self.content()
        yield from (piece for piece in (self.alternate, self.paraphrased_answer) if piece is not None)
        yield from self.paraphrases or ()
        yield from self.wrong or ()

    def wrong_answers(self) -> list[str]:
        """Those that say something."""
        return [one for one in self.wrong or () if one.strip()]

    def answered(self, answer: str) -> "Record":
        """The same record with another answer in the place of its own. `answer` is not blank."""
        if self.messages is not None:
            turns = [*self.messages[:-1], Message(role="assistant", content=answer)]
            return self.model_copy(update={"messages": turns})
        return self.model_copy(update={"text" if self.text is not None else "completion": answer})
