"""A record: a text to forget, to keep or to measure on, in one of three shapes.

Code that reads records asks a record for its texts, its digest or a changed copy, so that only this file knows the
shapes. An optional field that is added later changes nothing that is derived from records without it: digests, the
split of sets and random draws leave empty fields out.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from core.schema.normal_text import normal_text
from core.schema.strict import Strict


class Message(Strict):
    role: Literal["system", "user", "assistant"] = Field(description="The speaker of this turn.")
    content: str = Field(min_length=1, description="The text of this turn.")


class Record(Strict):
    """One record in one of three shapes: `text`, `prompt` with `completion`, or `messages`.

    Scored are all tokens of a plain text except the first; of the other shapes the completion or the last assistant
    turn alone, with the end-of-sequence token behind it. That scored text is the record's answer;
    `paraphrased_answer`, `wrong` and `alternate` are other answers.
    """

    text: str | None = Field(default=None, description="A plain text.")
    prompt: str | None = Field(default=None, description="A prompt; `completion` goes with it.")
    completion: str | None = Field(default=None, description="The answer to the prompt, which is scored.")
    messages: list[Message] | None = Field(
        default=None, description="A conversation. Its last turn is the assistant's, which is scored."
    )
    id: str | None = Field(default=None, max_length=256, description="Your own identifier of the record.")
    subject: str | None = Field(
        default=None, max_length=256, description="The person or thing that the record is about."
    )
    group: str | None = Field(
        default=None,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="For probes: the record's group, such as `retain`, `real_authors` or `world_facts`.",
    )
    alternate: str | None = Field(
        default=None, description="Another answer, which some methods teach instead of the record's own."
    )
    paraphrases: list[str] | None = Field(default=None, description="The prompt in other words, for measuring.")
    paraphrased_answer: str | None = Field(default=None, description="The right answer in other words, for measuring.")
    wrong: list[str] | None = Field(
        default=None, description="Wrong answers of the same form, for measuring. Blank ones do not count."
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        pair = self.prompt is not None or self.completion is not None
        if (self.text is not None) + pair + (self.messages is not None) != 1:
            raise ValueError("a record has exactly one of: text, prompt with completion, messages")
        if pair and (self.prompt is None or self.completion is None):
            raise ValueError("prompt and completion belong together")
        if self.messages is not None and (not self.messages or self.messages[-1].role != "assistant"):
            raise ValueError("messages end with the assistant's turn, which is what is scored")
        if not self.scored_text.strip():
            raise ValueError("the record is empty")
        if self.paraphrased_answer is not None and not self.paraphrased_answer.strip():
            raise ValueError("the paraphrased answer is empty")
        return self

    @property
    def is_plain_text(self) -> bool:
        """Whether the record is a plain text: scored as a whole, without a prompt."""
        return self.text is not None

    @property
    def is_conversation(self) -> bool:
        """Whether the record has messages, which a chat template may write."""
        return self.messages is not None

    def turns(self) -> list[Message]:
        """The turns of a conversation in order; empty for other shapes."""
        return self.messages or []

    def texts(self) -> list[str]:
        """The record's own texts in order; the last is the scored one. Probes and other answers are left out."""
        if self.messages is not None:
            return [message.content for message in self.messages]
        if self.text is not None:
            return [self.text]
        return [self.prompt or "", self.completion or ""]

    def normal_text(self) -> str:
        """Its own texts in normal form. Records with another id, subject, probes or shape are the same if these are."""
        return normal_text(self.texts())

    @property
    def scored_text(self) -> str:
        """The text whose tokens are scored: the plain text, the completion, or the last assistant turn."""
        return self.texts()[-1]

    @property
    def raw_prompt(self) -> str:
        """The text before the scored one where no chat template writes it: earlier turns stand one a line."""
        if self.messages is not None:
            return "".join(f"{message.content}\n" for message in self.messages[:-1])
        return self.prompt or ""

    @property
    def question(self) -> str:
        """The prompt, or the user's turn just before the answer; empty where there is none."""
        if self.messages is not None:
            return self.messages[-2].content if self._asks_last() else ""
        return self.prompt or ""

    def all_texts(self) -> Iterator[str]:
        """Every text of the record that may be tokenized, probes and other answers included: the limit in bytes counts
        these."""
        yield from self.texts()
        yield from (answer for answer in (self.alternate, self.paraphrased_answer) if answer is not None)
        yield from self.paraphrases or ()
        yield from self.wrong or ()

    def wrong_answers(self) -> list[str]:
        """The wrong answers that are not blank."""
        return [answer for answer in self.wrong or () if answer.strip()]

    def with_scored_text(self, text: str) -> Self:
        """A copy with another scored text; it is not validated, so `text` may be empty."""
        if self.messages is not None:
            answer = self.messages[-1].model_copy(update={"content": text})
            return self.model_copy(update={"messages": [*self.messages[:-1], answer]})
        return self.model_copy(update={"text" if self.text is not None else "completion": text})

    def with_texts(self, texts: Sequence[str]) -> "Record":
        """A record of the same shape with these texts in place of its own, as many as `texts()`; all other fields are
        empty."""
        if self.messages is not None:
            pairs = zip(self.messages, texts, strict=True)
            return Record(messages=[message.model_copy(update={"content": text}) for message, text in pairs])
        if self.text is not None:
            return Record(text=texts[0])
        return Record(prompt=texts[0], completion=texts[1])

    def with_question(self, question: str) -> "Record":
        """A record that asks `question` in place of its own and has the same scored text, and no other field.

        A plain text becomes the completion. Earlier turns of a conversation stay.
        """
        if self.messages is None:
            return Record(prompt=question, completion=self.scored_text)
        earlier = self.messages[:-2] if self._asks_last() else self.messages[:-1]
        return Record(messages=[*earlier, Message(role="user", content=question), self.messages[-1]])

    def as_prompt_and_completion(self) -> Self:
        """The record with a prompt: a plain text is cut in two at `prompt_end`; other shapes stay as they are."""
        if self.text is None:
            return self
        end = prompt_end(self.text)
        return self.model_copy(update={"text": None, "prompt": self.text[:end], "completion": self.text[end:]})

    def to_json(self) -> str:
        """The record as one line of JSON, without empty fields."""
        return self.model_dump_json(exclude_none=True)

    def digest(self) -> bytes:
        """SHA-256 of all fields that are not empty."""
        return hashlib.sha256(self.to_json().encode()).digest()

    def identity(self) -> str:
        """JSON that is equal for equal records under different ids: sorted keys, no `id`, no empty field.

        The split of sets is fixed on it for ever.
        """
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"id"})
        return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def _asks_last(self) -> bool:
        """Whether a user's turn stands just before the answer."""
        return self.messages is not None and len(self.messages) > 1 and self.messages[-2].role == "user"


def prompt_end(text: str) -> int:
    """The place where a text is cut into prompt and completion: the end of the word with which a third is reached.

    The last word always belongs to the completion; a text of a single word is cut within it, at a third. The space
    goes to the completion, so that the two together are the text.
    """
    ends = [gap.start() for gap in re.finditer(r"(?<=\S)\s+(?=\S)", text)]
    if ends:
        return next((end for end in ends if 3 * end >= len(text)), ends[-1])
    return len(text) - len(text.lstrip()) + len(text.strip()) // 3
