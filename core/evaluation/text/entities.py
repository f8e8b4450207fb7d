"""Finds the entities of a record: its numbers, dates, addresses, identifiers, names and places.

Entities are found by their form alone, in any script that has digits; names in scripts that have capitals. Other
records tell which capitalised words are common words.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.evaluation.text.common_words import ENGLISH_ONLY, CommonWords
from core.evaluation.text.months import LANGUAGES, MONTHS, month_style
from core.evaluation.text.words import (
    COMMON_ENGLISH,
    EMAIL,
    LETTER,
    PARTICLES,
    URL,
    find_words,
    plain_words,
    strip_possessive,
)
from core.schema.record import Record

Form = Literal["email", "url", "date", "identifier", "number", "name"]
Kind = Literal["email", "url", "day", "ordinal", "month", "month number", "year", "identifier", "number", "word"]


@dataclass(frozen=True)
class Part:
    """A part of an entity that is swapped as a whole: `text`, which begins at `start` of the record's text."""

    start: int
    text: str
    kind: Kind

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Entity:
    """One entity: `text` at [start:end] of the record's text with number `text_number`.

    Entities of the same form and shape can stand for each other. `left` and `right` are the neighbouring words or
    signs in lower case, or the form of the neighbouring entity.
    """

    text_number: int
    start: int
    text: str
    form: Form
    shape: str
    parts: tuple[Part, ...]
    left: str = ""
    right: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_MONTH = "|".join(sorted(MONTHS, key=lambda name: (-len(name), name)))
_DAY = r"(?:(?P<ordinal>\d{1,2}(?:st|nd|rd|th))|(?P<day>\d{1,2}))"
_YEAR = r"(?P<year>\d{4})(?!\d)"
_ANY_CASE = re.IGNORECASE
_FORMS: list[tuple[Form, re.Pattern[str]]] = [
    ("email", EMAIL),
    ("url", URL),
    ("date", re.compile(r"(?<!\d)(?P<year>\d{4})([-/.])(?P<second>\d{1,2})\2(?P<third>\d{1,2})(?!\d)")),
    ("date", re.compile(r"(?<![\d.])(?P<first>\d{1,2})([-/.])(?P<second>\d{1,2})\2(?P<year>\d{4}|\d{2})(?![\d])")),
    (
        "date",
        re.compile(rf"(?<!\w){_DAY}\.?(?: of| de)? (?P<month>{_MONTH})\b\.?(?:,? (?:de )?{_YEAR})?", _ANY_CASE),
    ),
    ("date", re.compile(rf"\b(?P<month>{_MONTH})\b\.? {_DAY}(?!\d)(?:,? {_YEAR})?", _ANY_CASE)),
    ("date", re.compile(rf"\b(?P<month>{_MONTH})\b\.?,? {_YEAR}", _ANY_CASE)),
    ("identifier", re.compile(r"(?<!\w)[^\W_]+(?:[-/_][^\W_]+)*(?!\w)")),
    (
        "number",
        re.compile(r"(?<!\d)(?:\+|\(\+?)?\d+(?:(?:[.,:/-]|\)[ -]?| \()\d+)*(?:(?<=\d{2}) \d{2,}(?:[-./]\d{2,})*)*"),
    ),
]
_MASK = "\0"
_SENTENCE_END = re.compile(r"(?:^|[.!?\n])[\s\"'“”«»()\[\]*-]*$")
_NEIGHBOUR = re.compile(r"\w+|[^\w\s]")
_CENTURIES = range(1500, 2100)
"""Four digits within this range are read as a year."""


def find_entities(record: Record, common: CommonWords = ENGLISH_ONLY) -> list[Entity]:
    """The entities of all texts of a record, in the order of each text; no two overlap."""
    texts = record.texts()
    subject = {word.casefold() for word in plain_words(record.subject or "")} - COMMON_ENGLISH
    names = set(subject)
    for text in texts:
        capitalised = [word for word in find_words(text) if word[0][0].isupper()]
        names |= {
            strip_possessive(word[0]).casefold() for word in capitalised if not _begins_sentence(text, word.start())
        }
    entities = []
    for number, text in enumerate(texts):
        of_text: list[Entity] = []
        for form, pattern in _FORMS:
            for match in pattern.finditer(_masked(text, of_text)):
                entity = _entity(number, form, match, text)
                if entity is not None:
                    of_text.append(entity)
        of_text += _names(number, text, of_text, common, subject, names)
        entities += _with_neighbours(text, sorted(of_text, key=lambda entity: entity.start))
    return entities


def digit_shape(text: str) -> str:
    """Digits as `9`; as `0` where a longer run of digits begins with zero, or the text ends with two or more zeros."""
    shape = re.sub(r"\d", "9", text)
    zeros = [index for index, sign in enumerate(text) if sign.isdecimal() and unicodedata.digit(sign) == 0]
    for run in re.finditer(r"\d{2,}", text):
        if run.start() in zeros:
            shape = shape[: run.start()] + "0" + shape[run.start() + 1 :]
    last = len(text)
    while last - 1 in zeros and last > 1:
        last -= 1
    return shape[:last] + "0" * (len(text) - last) if len(text) - last >= 2 else shape


def letter_shape(text: str) -> str:
    """The digit shape, with letters as `A` or `a`."""
    return "".join(
        ("A" if raw.isupper() else "a") if raw.isalpha() else sign
        for raw, sign in zip(text, digit_shape(text), strict=True)
    )


def word_shape(word: str) -> str:
    """`Aa`, `AA`, `AaAa`, `A`: runs of capitals and of small letters, whatever their length."""
    return re.sub(r"(A)A+|(a)a+", lambda run: run[1] * 2 if run[1] else run[2], letter_shape(word))


def script(letter: str) -> str:
    """The first word of the letter's Unicode name, such as `LATIN`."""
    return unicodedata.name(letter, "?").split()[0]


def month_languages(text: str) -> list[str]:
    """The languages that have every month named in the text; all languages where none has."""
    named = {match[0].casefold() for match in re.finditer(rf"\b(?:{_MONTH})\b", text, _ANY_CASE)}
    return [language for language, months in LANGUAGES.items() if named <= set(months)] or list(LANGUAGES)


def _masked(text: str, entities: Sequence[Entity]) -> str:
    """The text with `_MASK` over the entities that are found already, so that no pattern matches them again."""
    for entity in entities:
        text = text[: entity.start] + _MASK * len(entity.text) + text[entity.end :]
    return text


def _entity(number: int, form: Form, match: re.Match[str], text: str) -> Entity | None:
    """The entity that a match of a form's pattern is; None where the match only looks like one."""
    value, start = match[0], match.start()
    if form == "date":
        return _date(number, match, text)
    if form == "identifier":
        return _identifier(number, value, start)
    if form == "number":
        kind: Kind = "year" if len(value) == 4 and value.isdecimal() and int(value) in _CENTURIES else "number"
        shape = "year" if kind == "year" else digit_shape(value)
        return Entity(number, start, value, form, shape, (Part(start, value, kind),))
    kind = "email" if form == "email" else "url"
    return Entity(number, start, value, form, _address_shape(value), (Part(start, value, kind),))


def _address_shape(address: str) -> str:
    """Runs of letters and the digits of an e-mail's local part, with the domain's count of labels; or of a URL."""
    local, _, domain = address.rpartition("@")
    if local:
        return f"{re.sub('a+', 'a', letter_shape(local.lower()))}@{domain.count('.')}"
    return re.sub(r"a+", "a", letter_shape(address.lower()))


def _identifier(number: int, value: str, start: int) -> Entity | None:
    """A word with letters and digits. `40-year-old`, `5kg` and `12th` are none: they are numbers with words."""
    if not any(sign.isalpha() for sign in value) or not any(sign.isdecimal() for sign in value):
        return None
    if any(sign.isalpha() and not sign.isupper() and not sign.islower() for sign in value):
        return None  # a script without spaces between words, or without capitals: only the digits are an entity
    parts = re.split(r"[-/_]", value)
    mixed = any(re.search(rf"{LETTER}", part) and re.search(r"\d", part) for part in parts)
    looks_named = any(sign.isupper() for sign in value) or (re.match(LETTER, value) and mixed)
    if not looks_named or re.fullmatch(r"\d+[a-z]{1,3}", value, _ANY_CASE):
        return None
    return Entity(number, start, value, "identifier", letter_shape(value), (Part(start, value, "identifier"),))


def _date(number: int, match: re.Match[str], text: str) -> Entity | None:
    groups = {name: value for name, value in match.groupdict().items() if value}
    kinds: dict[str, Kind] = {"year": "year", "month": "month", "day": "day", "ordinal": "ordinal"}
    if "second" in groups:
        rest = [name for name in ("first", "second", "third") if name in groups]
        if "third" in groups:  # the year comes first, then the month
            kinds |= {"second": "month number", "third": "day"}
        else:
            over = [int(groups[name]) > 12 for name in rest]
            # 03/04: either may be the month, so both are kept to twelve
            kinds |= {name: "day" if big else "month number" for name, big in zip(rest, over, strict=True)}
    parts = sorted(
        (Part(match.start(name), value, kinds[name]) for name, value in groups.items()), key=lambda part: part.start
    )
    limits = {"day": 31, "ordinal": 31, "month number": 12}
    if any(not 1 <= int(re.sub(r"\D", "", part.text)) <= limits[part.kind] for part in parts if part.kind in limits):
        return None
    if sum(part.kind == "day" for part in parts) > 1:
        return None
    date, start = match[0], match.start()
    if date.endswith(".") and text[match.end() : match.end() + 1] in ("", "\n", " ") and "year" not in groups:
        date = date[:-1]
    shape, end = "", start
    languages = month_languages(text)
    for part in parts:
        shape += text[end : part.start] + _part_shape(part, languages)
        end = part.end
    return Entity(number, start, date, "date", shape + text[end : start + len(date)], tuple(parts))


def _part_shape(part: Part, languages: Sequence[str]) -> str:
    if part.kind == "month":
        return month_style(part.text, languages)
    if part.kind == "ordinal":
        return digit_shape(part.text[:-2]) + "th"
    return "year" if len(part.text) == 4 else digit_shape(part.text)


def _begins_sentence(text: str, start: int) -> bool:
    """Whether a sentence begins at `start`."""
    return _SENTENCE_END.search(text[max(0, start - 12) : start]) is not None if start else True


def _names(
    number: int, text: str, entities: Sequence[Entity], common: CommonWords, subject: set[str], names: set[str]
) -> list[Entity]:
    """Runs of capitalised words outside `entities` that are not common ones, with the particles between them."""
    runs: list[list[Part]] = []
    for match in find_words(text, [(entity.start, entity.end) for entity in entities]):
        word = strip_possessive(match[0])
        if not word[0].isupper() or (common.is_common(word) and word.casefold() not in subject):
            continue
        part = Part(match.start(), word, "word")
        between = text[runs[-1][-1].end : part.start] if runs else "\n"
        initial = runs and len(runs[-1][-1].text) == 1
        if between == " " or between.strip() in PARTICLES or (initial and between in (". ", ".")):
            runs[-1].append(part)
        else:
            runs.append([part])
    return [_name(number, text, run) for run in runs if _is_name(run, text, common, names)]


def _is_name(run: Sequence[Part], text: str, common: CommonWords, names: set[str]) -> bool:
    """A single word that begins a sentence is a name only if it is capitalised elsewhere or other records lack it."""
    if len(run) > 1:
        return True
    word = run[0].text
    if len(word) == 1:
        return False
    return common.reliable or word.casefold() in names or not _begins_sentence(text, run[0].start)


def _name(number: int, text: str, run: Sequence[Part]) -> Entity:
    start, end = run[0].start, run[-1].end
    shape, last = "", start
    for part in run:
        shape += text[last : part.start] + word_shape(part.text)
        last = part.end
    return Entity(number, start, text[start:end], "name", f"{script(text[start])} {shape}", tuple(run))


def _with_neighbours(text: str, entities: Sequence[Entity]) -> list[Entity]:
    """The entities of a text with its left and right context."""
    last = len(entities) - 1
    complete = []
    for index, entity in enumerate(entities):
        before = text[entities[index - 1].end if index else 0 : entity.start]
        after = text[entity.end : entities[index + 1].start if index < last else len(text)]
        left, right = _NEIGHBOUR.findall(before), _NEIGHBOUR.findall(after)
        no_left = f"<{entities[index - 1].form}>" if index else "^"
        no_right = f"<{entities[index + 1].form}>" if index < last else "$"
        complete.append(
            replace(
                entity,
                left=left[-1].casefold() if left else no_left,
                right=right[0].casefold() if right else no_right,
            )
        )
    return complete
