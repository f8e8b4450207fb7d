"""The scored answer's place in a conversation that a chat template writes. Needs neither torch nor transformers."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.lm.chat_template import ChatTemplate, Refusal, Turn
from core.schema.record import Record

_MARK = "THEASSISTANTSANSWERSTANDSHERE"
"""Stands in for the answer to find its place: letters alone, which no template strips, splits or escapes."""


@dataclass(frozen=True)
class RenderedRecord:
    """A conversation as text, in three parts."""

    context: str  # up to the answer
    answer: str
    after: str  # the text after the answer
    rewritten: bool  # whether an earlier turn is left out, or its content changed


def render_record(record: Record, template: ChatTemplate) -> RenderedRecord:
    """Writes the record's messages by the template. The content of the last turn is the answer.

    The answer is found where the template puts a mark in its place; the space around it and between its words may
    differ. So a turn's header, and an empty `<think>` block that a template writes before an answer, are context.
    Raises Refusal: the template refuses or fails, leaves out or rewrites a part of the answer, or writes the earlier
    turns differently when it asks the model for an answer (with the generation prompt).
    """
    turns: list[Turn] = [{"role": message.role, "content": message.content} for message in record.turns()]
    *earlier, last = turns
    text = template.render(turns)
    before, mark, after = template.render([*earlier, {**last, "content": _MARK}]).rpartition(_MARK)
    span = _find_answer(text, before, after, last["content"]) if mark else None
    if span is None:
        raise Refusal("leaves out or rewrites a part of the assistant's last turn")
    context = text[: span[0]]
    if earlier:
        prompt = template.render(earlier, generation_prompt=True)
        _refuse_other_prompt(context, prompt, earlier[-1]["content"].strip())
    rewritten = any(turn["content"].strip() not in context for turn in earlier)
    return RenderedRecord(context, text[span[0] : span[1]], text[span[1] :], rewritten)


def _find_answer(text: str, before: str, after: str, answer: str) -> tuple[int, int] | None:
    """Returns where the answer begins and ends in the text, which ends with `after`; None: it is not in there."""
    if not text.endswith(after):
        return None
    end = len(text) - len(after)
    if text.startswith(before) and text[len(before) : end] == answer:
        return len(before), end
    places = [place for place, character in enumerate(text[:end]) if not character.isspace()]
    letters = "".join(answer.split())
    if not letters or "".join(text[place] for place in places[-len(letters) :]) != letters:
        return None
    return places[-len(letters)], places[-1] + 1


def _refuse_other_prompt(context: str, prompt: str, last: str) -> None:
    """Raises Refusal unless the generation prompt agrees with the context up to the end of the last earlier turn.

    After that turn the prompt may open a `<think>`, which the answer's own rendering does not have.
    """
    if context.startswith(prompt):
        return
    if last and last in context and common_prefix_length(context, prompt) < context.rfind(last) + len(last):
        raise Refusal("writes earlier turns differently once the answer follows")


def common_prefix_length(first: Sequence[object], second: Sequence[object]) -> int:
    """Returns how many characters of two texts, or tokens of two lists, agree from the beginning on."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def end_of_turn(after: str, tokens: Collection[str]) -> str:
    """Returns the beginning of `after` that ends the answer's turn; empty where the template writes no end.

    It is the text before the first of `tokens` (those that a tokenizer knows as one, special or not), else that token;
    with the space before it, without the space behind it.
    """
    pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if token.strip())
    first = re.search(pattern, after) if pattern else None
    if first is None:
        return after.rstrip()
    text = after[: first.start()].rstrip()
    return text or after[: first.end()]


def check_record(record: Record, template: ChatTemplate) -> bool:
    """Whether the template rewrites or leaves out an earlier turn of a record with messages.

    Tries the record with each of its other answers too. Raises Refusal as `render_record` does.
    """
    answers = (*record.wrong_answers(), record.paraphrased_answer, record.alternate)
    for answer in answers:
        if answer is not None and answer.strip():
            render_record(record.with_scored_text(answer), template)
    return render_record(record, template).rewritten
