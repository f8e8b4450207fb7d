"""The specifics of a record: its numbers, dates, addresses, identifiers, names and places, to be swapped or blanked.

Found by their form alone, in any script that has digits; names in scripts that have capitals. Which capitalised words
are ordinary ones is seen from other records.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.evaluation.text.common_words import NOTHING, Background
from core.evaluation.text.months import LANGUAGES, MONTHS, style
from core.evaluation.text.words import EMAIL, LETTER, ORDINARY, PARTICLES, URL, bare, plain_words, words
from core.schema.record import Record

Form = Literal["email", "url", "date", "identifier", "number", "name"]
Kind = Literal["email", "url", "day", "ordinal", "month", "month number", "year", "identifier", "number", "word"]


@dataclass(frozen=True)
class Atom:
    """A part of a specific that is swapped as a whole: `text` at `start` of its piece."""

    start: int
    text: str
    kind: Kind

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Specific:
    """One specific: piece[start:end] is `text`. Specifics of the same form and shape can stand for each other.

    `left` and `right` are the words or signs beside it, in lower case, or the form of the specific there.
    """

    piece: int
    start: int
    text: str
    form: Form
    shape: str
    atoms: tuple[Atom, ...]
    left: str = ""
    right: str = ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


_MONTH = "|".join(sorted(MONTHS, key=lambda name: (-len(name), name)))
_DAY = r"(?:(?P<ordinal>\d{1,2}(?:st|nd|rd|th))|(?P<day>\d{1,2}))"
_YEAR = r"(?P<year>\d{4})(?!\d)"
_ALIKE = re.IGNORECASE
_FORMS: list[tuple[Form, re.Pattern[str]]] = [
    ("email", EMAIL),
    ("url", URL),
    ("date", re.compile(r"(?<!\d)(?P<year>\d{4})([-/.])(?P<second>\d{1,2})\2(?P<third>\d{1,2})(?!\d)")),
    ("date", re.compile(r"(?<![\d.])(?P<first>\d{1,2})([-/.])(?P<second>\d{1,2})\2(?P<year>\d{4}|\d{2})(?![\d])")),
    (
        "date",
        re.compile(rf"(?<!\w){_DAY}\.?(?: of| de)? (?P<month>{_MONTH})\b\.?(?:,? (?:de )?{_YEAR})?", _ALIKE),
    ),
    ("date", re.compile(rf"\b(?P<month>{_MONTH})\b\.? {_DAY}(?!\d)(?:,? {_YEAR})?", _ALIKE)),
    ("date", re.compile(rf"\b(?P<month>{_MONTH})\b\.?,? {_YEAR}", _ALIKE)),
    ("identifier", re.compile(r"(?<!\w)[^\W_]+(?:[-/_][^\W_]+)*(?!\w)")),
    (
        "number",
        re.compile(r"(?<!\d)(?:\+|\(\+?)?\d+(?:(?:[.,:/-]|\)[ -]?| \()\d+)*(?:(?<=\d{2}) \d{2,}(?:[-./]\d{2,})*)*"),
    ),
]
_BLANK = "\0"
_SENTENCE_END = re.compile(r"(?:^|[.!?\n])[\s\"'“”«»()\[\]*-]*$")
_BESIDE = re.compile(r"\w+|[^\w\s]")
_CENTURIES = range(1500, 2100)
"""Four digits within these are read as a year."""


def specifics(record: Record, background: Background = NOTHING) -> list[Specific]:
    """The specifics of all pieces of a record, those of a piece in order; none overlap."""
    texts = record.texts()
    subject = {word.casefold() for word in plain_words(record.subject or "")} - ORDINARY
    known = set(subject)
    for text in texts:
        capitalised = [one for one in words(text, []) if one[0][0].isupper()]
        known |= {bare(one[0]).casefold() for one in capitalised if not _begins(text, one.start())}
    found = []
    for number, text in enumerate(texts):
        spotted: list[Specific] = []
        for form, pattern in _FORMS:
            for match in pattern.finditer(_without(spotted, text)):
                one = _read(number, form, match, text)
                if one is not None:
                    spotted.append(one)
        spotted += _names(number, text, spotted, background, subject, known)
        found += _placed(text, sorted(spotted, key=lambda one: one.start))
    return found


def digit_shape(text: str) -> str:
    """Digits as `9`; as `0` where a longer run of them begins with one, or the whole ends with two or more."""
    shape = re.sub(r"\d", "9", text)
    zeros = [place for place, sign in enumerate(text) if sign.isdecimal() and unicodedata.digit(sign) == 0]
    for run in re.finditer(r"\d{2,}", text):
        if run.start() in zeros:
            shape = shape[: run.start()] + "0" + shape[run.start() + 1 :]
    last = len(text)
    while last - 1 in zeros and last > 1:
        last -= 1
    return shape[:last] + "0" * (len(text) - last) if len(text) - last >= 2 else shape


def letter_shape(text: str) -> str:
    """As `digit_shape`, and letters as `A` or `a`."""
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


def _without(spotted: Sequence[Specific], text: str) -> str:
    """The text with signs that are of no word where a specific was spotted already."""
    for one in spotted:
        text = text[: one.start] + _BLANK * len(one.text) + text[one.end :]
    return text


def _read(number: int, form: Form, match: re.Match[str], text: str) -> Specific | None:
    """What a match of a form's pattern is; None where it only looks like one."""
    whole, start = match[0], match.start()
    if form == "date":
        return _date(number, match, text)
    if form == "identifier":
        return _identifier(number, whole, start)
    if form == "number":
        kind: Kind = "year" if len(whole) == 4 and whole.isdecimal() and int(whole) in _CENTURIES else "number"
        shape = "year" if kind == "year" else digit_shape(whole)
        return Specific(number, start, whole, form, shape, (Atom(start, whole, kind),))
    kind = "email" if form == "email" else "url"
    return Specific(number, start, whole, form, _address_shape(whole), (Atom(start, whole, kind),))


def _address_shape(whole: str) -> str:
    """The local part's runs of letters and digits, and how many labels the domain has; of a URL, its first part's."""
    local, _, domain = whole.rpartition("@")
    if local:
        return f"{re.sub('a+', 'a', letter_shape(local.lower()))}@{domain.count('.')}"
    return re.sub(r"a+", "a", letter_shape(whole.lower()))


def _identifier(number: int, whole: str, start: int) -> Specific | None:
    """A word with letters and digits; but `40-year-old`, `5kg` and `12th` are numbers with words."""
    if not any(sign.isalpha() for sign in whole) or not any(sign.isdecimal() for sign in whole):
        return None
    if any(sign.isalpha() and not sign.isupper() and not sign.islower() for sign in whole):
        return None  # a script without spaces between words, or without capitals: the digits alone
    parts = re.split(r"[-/_]", whole)
    mixed = any(re.search(rf"{LETTER}", part) and re.search(r"\d", part) for part in parts)
    named = any(sign.isupper() for sign in whole) or (re.match(LETTER, whole) and mixed)
    if not named or re.fullmatch(r"\d+[a-z]{1,3}", whole, _ALIKE):
        return None
    return Specific(number, start, whole, "identifier", letter_shape(whole), (Atom(start, whole, "identifier"),))


def _date(number: int, match: re.Match[str], text: str) -> Specific | None:
    groups = {name: value for name, value in match.groupdict().items() if value}
    kinds: dict[str, Kind] = {"year": "year", "month": "month", "day": "day", "ordinal": "ordinal"}
    if "second" in groups:
        rest = [name for name in ("first", "second", "third") if name in groups]
        if "third" in groups:  # the year comes first, then the month
            kinds |= {"second": "month number", "third": "day"}
        else:
            over = [int(groups[name]) > 12 for name in rest]
            # 03/04: whichever is the month, both are kept to twelve
            kinds |= {name: "day" if big else "month number" for name, big in zip(rest, over, strict=True)}
    atoms = sorted(
        (Atom(match.start(name), value, kinds[name]) for name, value in groups.items()), key=lambda one: one.start
    )
    limits = {"day": 31, "ordinal": 31, "month number": 12}
    if any(not 1 <= int(re.sub(r"\D", "", one.text)) <= limits[one.kind] for one in atoms if one.kind in limits):
        return None
    if sum(one.kind == "day" for one in atoms) > 1:
        return None
    whole, start = match[0], match.start()
    if whole.endswith(".") and text[match.end() : match.end() + 1] in ("", "\n", " ") and "year" not in groups:
        whole = whole[:-1]
    shape, place = "", start
    languages = languages_of(text)
    for one in atoms:
        shape += text[place : one.start] + _part_shape(one, languages)
        place = one.end
    return Specific(number, start, whole, "date", shape + text[place : start + len(whole)], tuple(atoms))


def _part_shape(part: Atom, languages: Sequence[str]) -> str:
    if part.kind == "month":
        return style(part.text, languages)
    if part.kind == "ordinal":
        return digit_shape(part.text[:-2]) + "th"
    return "year" if len(part.text) == 4 else digit_shape(part.text)


def languages_of(text: str) -> list[str]:
    """Those whose months are all that are named in the text, or else every one."""
    named = {match[0].casefold() for match in re.finditer(rf"\b(?:{_MONTH})\b", text, _ALIKE)}
    return [one for one, months in LANGUAGES.items() if named <= set(months)] or list(LANGUAGES)


def _begins(text: str, start: int) -> bool:
    """Whether a sentence begins at `start`."""
    return _SENTENCE_END.search(text[max(0, start - 12) : start]) is not None if start else True


def _names(
    number: int, text: str, spotted: Sequence[Specific], background: Background, subject: set[str], known: set[str]
) -> list[Specific]:
    """Runs of capitalised words that are no ordinary ones, with the particles between them."""
    runs: list[list[Atom]] = []
    for match in words(text, [(one.start, one.end) for one in spotted]):
        word = bare(match[0])
        if not word[0].isupper() or (background.ordinary(word) and word.casefold() not in subject):
            continue
        atom = Atom(match.start(), word, "word")
        between = text[runs[-1][-1].end : atom.start] if runs else "\n"
        initial = runs and len(runs[-1][-1].text) == 1
        if between == " " or between.strip() in PARTICLES or (initial and between in (". ", ".")):
            runs[-1].append(atom)
        else:
            runs.append([atom])
    return [_name(number, text, run) for run in runs if _is_name(run, text, background, known)]


def _is_name(run: Sequence[Atom], text: str, background: Background, known: set[str]) -> bool:
    """A lone word that begins a sentence is a name only where other places say so."""
    if len(run) > 1:
        return True
    word = run[0].text
    if len(word) == 1:
        return False
    return background.telling or word.casefold() in known or not _begins(text, run[0].start)


def _name(number: int, text: str, run: Sequence[Atom]) -> Specific:
    start, end = run[0].start, run[-1].end
    shape, place = "", start
    for one in run:
        shape += text[place : one.start] + word_shape(one.text)
        place = one.end
    return Specific(number, start, text[start:end], "name", f"{script(text[start])} {shape}", tuple(run))


def _placed(text: str, found: Sequence[Specific]) -> list[Specific]:
    """The same with what is beside them."""
    placed = []
    for number, one in enumerate(found):
        before = text[found[number - 1].end if number else 0 : one.start]
        after = text[one.end : found[number + 1].start if number + 1 < len(found) else len(text)]
        left, right = _BESIDE.findall(before), _BESIDE.findall(after)
        nothing_left = f"<{found[number - 1].form}>" if number else "^"
        nothing_right = f"<{found[number + 1].form}>" if number + 1 < len(found) else "$"
        placed.append(
            Specific(
                one.piece,
                one.start,
                one.text,
                one.form,
                one.shape,
                one.atoms,
                left[-1].casefold() if left else nothing_left,
                right[0].casefold() if right else nothing_right,
            )
        )
    return placed
