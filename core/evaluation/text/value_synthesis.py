"""Invented values of the same form as a given one, for where no unseen text has any to take."""

import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from core.evaluation.text.entities import Kind, digit_shape, letter_shape, script
from core.evaluation.text.months import months_like

_VOWELS, _CONSONANTS = "aeiou", "bcdfghklmnprstvwz"
_ALPHABETS = {
    "LATIN": _VOWELS + _CONSONANTS,
    "CYRILLIC": "абвгдежзиклмнопрстуфхцчшэюя",
    "GREEK": "αβγδεζηθικλμνξοπρστυφχψω",
    "ARMENIAN": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօ",
}
_NEAR = 40
"""An invented year is at most so many before or a quarter of it after the true one, in the same century."""
_TRIES = 50
_LEAST = 3
"""Letters, or digits, of a part that is recognised inside of an address."""


def invented(text: str, kind: Kind, generator: random.Random, languages: Sequence[str]) -> str:
    """Another value of the same kind and shape. The same one only where none other is found."""
    make = _MAKERS.get(kind, _signs)
    for _ in range(_TRIES):
        found = months_of(text, generator, languages) if kind == "month" else make(text, generator)
        if found != text and _same_shape(found, text, kind):
            return found
    return text


def address(text: str, generator: random.Random, known: Mapping[str, str], ordinary: Callable[[str], bool]) -> str:
    """An e-mail address or URL: parts that `known` (in lower case) has are swapped for it; where there is none, the
    local part, or what follows a URL's host (else the host), is invented."""
    swapped = with_known(text, known)
    if swapped != text:
        return swapped
    for _ in range(_TRIES):
        if "@" in text:
            local, _, domain = text.rpartition("@")
            found = f"{_signs(local, generator)}@{domain}"
        else:
            found = _url(text, generator, ordinary)
        if found != text:
            return found
    return text


def with_known(text: str, known: Mapping[str, str]) -> str:
    """The text with every part of it that is known in lower case swapped, the longest first."""
    parts = sorted((part for part in known if len(part) >= _LEAST), key=lambda part: (-len(part), part))
    if not parts:
        return text
    pattern = re.compile("|".join(re.escape(part) for part in parts), re.IGNORECASE)
    return pattern.sub(lambda match: _cased_like(known.get(match[0].casefold(), match[0]), match[0]), text)


def cased_like(word: str, original: str) -> str:
    """The word in capitals, in small letters, or as it stands: like the original."""
    return _cased_like(word, original)


def _cased_like(word: str, original: str) -> str:
    if original.islower():
        return word.lower()
    return word.upper() if original.isupper() and len(original) > 1 else word


def months_of(text: str, generator: random.Random, languages: Sequence[str]) -> str:
    return generator.choice(months_like(text, languages))


def _signs(text: str, generator: random.Random) -> str:
    """Each letter for one of its script, vowels for vowels; each digit for a digit, where its shape lets it."""
    shape = digit_shape(text)
    found = []
    for place, (sign, form) in enumerate(zip(text, shape, strict=True)):
        if sign.isdecimal():
            first = place == 0 or not text[place - 1].isdecimal()
            found.append(sign if form == "0" else _digit(sign, generator, least=1 if first else 0))
        elif sign.isalpha() and (sign.isupper() or sign.islower()):
            found.append(_letter(sign, generator))
        else:
            found.append(sign)
    return "".join(found)


def _digit(sign: str, generator: random.Random, *, least: int) -> str:
    zero = ord(sign) - unicodedata.digit(sign)
    return chr(zero + generator.randint(least, 9))


def _letter(sign: str, generator: random.Random) -> str:
    bare = unicodedata.normalize("NFD", sign.lower())[0]
    alphabet = _ALPHABETS.get(script(sign), bare)
    if bare in _VOWELS:
        alphabet = _VOWELS
    elif alphabet is _ALPHABETS["LATIN"]:
        alphabet = _CONSONANTS
    letter = generator.choice(alphabet)
    return letter.upper() if sign.isupper() else letter


def _url(text: str, generator: random.Random, ordinary: Callable[[str], bool]) -> str:
    """What follows the host, but ordinary words; without it, the host's own name."""
    match = re.match(r"((?:https?://)?(?:www\.)?)([^/?#]+)(.*)", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        return text
    scheme, host, rest = match.groups()
    if len(rest) > 1:
        changed = re.sub(r"[^\W_]+", lambda part: part[0] if ordinary(part[0]) else _signs(part[0], generator), rest)
        return f"{scheme}{host}{changed}"
    labels = host.split(".")
    own = max(0, len(labels) - 2)
    labels[own] = _signs(labels[own], generator)
    return f"{scheme}{'.'.join(labels)}{rest}"


def _year(text: str, generator: random.Random) -> str:
    if len(text) != 4:
        return _signs(text, generator)
    year = int(text)
    century = year - year % 100
    found = generator.randint(max(century, year - _NEAR), min(century + 99, year + _NEAR // 4))
    return _in_digits_of(text, f"{found:04d}")


def _of_calendar(most: int) -> Callable[[str, random.Random], str]:
    def make(text: str, generator: random.Random) -> str:
        return _in_digits_of(text, str(generator.randint(1, most)).zfill(len(text)))

    return make


def _ordinal(text: str, generator: random.Random) -> str:
    number = generator.randint(1, 28)
    suffix = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix.upper() if text[-1].isupper() else suffix}"


def _in_digits_of(text: str, digits: str) -> str:
    zero = ord(text[0]) - unicodedata.digit(text[0])
    return "".join(chr(zero + int(digit)) for digit in digits)


_MAKERS: dict[Kind, Callable[[str, random.Random], str]] = {
    "year": _year,
    "day": _of_calendar(28),
    "month number": _of_calendar(12),
    "ordinal": _ordinal,
}


def _same_shape(found: str, text: str, kind: Kind) -> bool:
    if kind in ("month", "year"):
        return True
    if kind == "ordinal":
        return len(found) == len(text)
    if kind == "word":
        return len(found) == len(text)
    return letter_shape(found) == letter_shape(text)
