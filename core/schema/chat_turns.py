"""The turns of a conversation, in the forms of OpenAI's fine-tuning files and of ShareGPT."""

from typing import Any

from core.schema.file_interpretation import FileInterpretation

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
"""Roles as files name them, each with the service's role."""
REFUSED_ROLES = frozenset({"tool", "function", "function_call", "function_response", "observation", "ipython"})
_ROLE, _CONTENT = ("role", "from"), ("content", "value")
_IGNORED = frozenset({"weight", "name"})
_REFUSED = frozenset({"tool_calls", "function_call", "tool_call_id", "refusal", "audio", "reasoning_content"})
_REFUSED_PARTS = frozenset({"image_url", "image", "input_image", "input_audio", "audio", "video", "file", "refusal"})


def normalize_turns(values: Any, interpretation: FileInterpretation) -> list[Any]:
    """Returns the messages as role and text. ValueError: the message's number and a reason, without its text."""
    if not isinstance(values, list):
        raise ValueError("messages: not a list")
    last = len(values) - 1
    return [_turn(index, value, index == last, interpretation) for index, value in enumerate(values)]


def _turn(index: int, value: Any, last: bool, interpretation: FileInterpretation) -> Any:
    where = f"messages.{index}"
    if not isinstance(value, dict):
        raise ValueError(f"{where}: not an object with role and content")
    present = {name: part for name, part in value.items() if part is not None and part != [] and part != {}}
    if refused := sorted(present.keys() & _REFUSED):
        raise ValueError(f"{where}: '{refused[0]}' is not understood: remove it, and the records that need it")
    if not present.keys() <= {*_ROLE, *_CONTENT, *_IGNORED}:
        raise ValueError(f"{where}: a key is not known; a message has: role, content (or: from, value)")
    role, content = (_single_value(present, names, where) for names in (_ROLE, _CONTENT))
    if last and present.get("weight") == 0:
        raise ValueError(f"{where}: weight 0 takes the last turn out of training, and that turn is what is scored")
    for name in present.keys() & _IGNORED:
        interpretation.ignore(name)
    for names, field in ((_ROLE, "role"), (_CONTENT, "content")):
        if names[1] in present:
            interpretation.fields[names[1]] = field
    return {"role": _role(role, where, interpretation), "content": _text(content, where)}


def _single_value(present: dict[str, Any], names: tuple[str, str], where: str) -> Any:
    matches = [name for name in names if name in present]
    if not matches:
        raise ValueError(f"{where}: '{names[0]}' is missing or null")
    if len(matches) > 1:
        raise ValueError(f"{where}: both '{names[0]}' and '{names[1]}': keep one of them")
    return present[matches[0]]


def _role(role: Any, where: str, interpretation: FileInterpretation) -> str:
    known = role.strip().lower() if isinstance(role, str) else ""
    if known in REFUSED_ROLES:
        raise ValueError(f"{where}: the role '{known}' is not understood: leave out records with calls of tools")
    if known not in ROLES:
        raise ValueError(f"{where}.role: not known; known are: {', '.join(ROLES)}")
    if known != ROLES[known]:
        interpretation.roles[known] = ROLES[known]
    return ROLES[known]


def _text(content: Any, where: str) -> Any:
    """Returns the text of a message. The text parts of a list become one line each."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = "text" if isinstance(part, str) else part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in _REFUSED_PARTS:
            raise ValueError(f"{where}.content: a part of type '{kind}' is not understood: only text is")
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if kind not in ("text", "input_text", "output_text") or not isinstance(text, str):
            raise ValueError(f"{where}.content: a part is not {{'type': 'text', 'text': …}}")
        texts.append(text)
    return "\n".join(texts)
