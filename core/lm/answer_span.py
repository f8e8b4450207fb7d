"""Where the scored answer lies in a conversation as a chat template writes it. Needs neither torch nor transformers."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.lm.chat_template import ChatTemplate, Refusal, Turn
from core.schema.record import Record

_MARK = "THEASSISTANTSANSWERSTANDSHERE"
"""Takes the answer's place to find it: letters alone, which no template strips, splits or escapes."""


@dataclass(frozen=True)
class RenderedRecord:
    """A conversation as text: up to the answer, the answer, and what follows it; together they are the whole.

    `rewritten`: an earlier turn is left out, or its content stands there in another form.
    """

    context: str
    answer: str
    after: str
    rewritten: bool


def render_record(record: Record, template: ChatTemplate) -> RenderedRecord:
    """The record's messages by the template; the last turn's content is the answer.

    The answer is found where the template puts a mark that takes its place; space at its ends and between its words may
    differ. So a turn's header, and an empty `<think>` block that a template writes before an answer, are context.
    Raises Refusal: the template refuses or fails, leaves out or rewrites a part of the answer, or writes the earlier
    turns differently when the model is asked (with the generation prompt).
    """
    turns: list[Turn] = [{"role": message.role, "content": message.content} for message in record.messages or []]
    *earlier, last = turns
    whole = template.render(turns)
    before, mark, after = template.render([*earlier, {**last, "content": _MARK}]).rpartition(_MARK)
    place = _place(whole, before, after, last["content"]) if mark else None
    if place is None:
        raise Refusal("leaves out or rewrites a part of the assistant's last turn")
    context = whole[: place[0]]
    if earlier:
        _asked_alike(context, template.render(earlier, generation_prompt=True), earlier[-1]["content"].strip())
    rewritten = any(turn["content"].strip() not in context for turn in earlier)
    return RenderedRecord(context, whole[place[0] : place[1]], whole[place[1] :], rewritten)


def _place(whole: str, before: str, after: str, answer: str) -> tuple[int, int] | None:
    """Where the answer begins and ends in the whole, which ends with `after`; None where it is not there."""
    if not whole.endswith(after):
        return None
    end = len(whole) - len(after)
    if whole.startswith(before) and whole[len(before) : end] == answer:
        return len(before), end
    places = [place for place, sign in enumerate(whole[:end]) if not sign.isspace()]
    wanted = "".join(answer.split())
    if not wanted or "".join(whole[place] for place in places[-len(wanted) :]) != wanted:
        return None
    return places[-len(wanted)], places[-1] + 1


def _asked_alike(context: str, prompt: str, last: str) -> None:
    """Raises Refusal unless what the model is asked by agrees with the context up to the end of the last earlier turn:
    what follows it may be an opened `<think>`, which the answer's own rendering does not have."""
    if context.startswith(prompt):
        return
    if last and last in context and common_prefix_length(context, prompt) < context.rfind(last) + len(last):
        raise Refusal("writes earlier turns differently once the answer follows")


def common_prefix_length(first: Sequence[object], second: Sequence[object]) -> int:
    """How many signs of two texts, or tokens of two lists, are the same from the beginning on."""
    pairs = zip(first, second, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


def end_of_turn(after: str, tokens: Collection[str]) -> str:
    """The beginning of what follows an answer that ends the turn; nothing where the template writes no end.

    The first token of `tokens` (those that a tokenizer knows as one, special or not), else the text before the first
    of them; with the space before it, without the space behind it.
    """
    named = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True) if token.strip())
    first = re.search(named, after) if named else None
    if first is None:
        return after.rstrip()
    text = after[: first.start()].rstrip()
    return text or after[: first.end()]


def check_record(record: Record, template: ChatTemplate) -> bool:
    """Whether the template rewrites or leaves out an earlier turn of a record with messages.

    Tries the record with each other answer that it names too. Raises Refusal as `write` does.
    """
    others = (*record.wrong_answers(), record.paraphrased_answer, record.alternate)
    for answer in others:
        if answer is not None and answer.strip():
            render_record(record.with_scored_text(answer), template)
    return render_record(record, template).rewritten
