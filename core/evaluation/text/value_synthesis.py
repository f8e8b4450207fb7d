"""Synthesizes values of the same form as a given value, for entities that no unseen record has a value for."""

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
_YEARS_BEFORE = 40
"""A new year lies at most this many years before the true one, or a quarter of them after it, in the same century."""
_PIECES = re.compile(r"\d|\D+")
_TRIES = 50
_SHORTEST_PART = 3
"""Letters or digits of the shortest part that is recognised inside an address."""


def synthesize_value(text: str, kind: Kind, generator: random.Random, languages: Sequence[str]) -> str:
    """Draws another value of the same kind and shape; returns `text` only where no other is drawn in 50 tries."""
    make = _MAKERS.get(kind, _signs)
    for _ in range(_TRIES):
        value = _month(text, generator, languages) if kind == "month" else make(text, generator)
        if value != text and _same_shape(value, text, kind):
            return value
    return text


def synthesize_address(
    text: str, generator: random.Random, known: Mapping[str, str], is_common: Callable[[str], bool]
) -> str:
    """Another e-mail address or URL: parts that are keys of `known` (lower case) are replaced by their values.

    Where it holds no known part, new signs are drawn for the local part, or for what follows a URL's host (else for the
    host).
    """
    replaced = replace_known(text, known)
    if replaced != text:
        return replaced
    for _ in range(_TRIES):
        if "@" in text:
            local, _, domain = text.rpartition("@")
            address = f"{_signs(local, generator)}@{domain}"
        else:
            address = _url(text, generator, is_common)
        if address != text:
            return address
    return text


def replace_known(text: str, known: Mapping[str, str]) -> str:
    """Replaces every part of a text that is a key of `known` (lower case), the longest parts first."""
    parts = sorted((part for part in known if len(part) >= _SHORTEST_PART), key=lambda part: (-len(part), part))
    if not parts:
        return text
    pattern = re.compile("|".join(re.escape(part) for part in parts), re.IGNORECASE)
    return pattern.sub(lambda match: match_case(known.get(match[0].casefold(), match[0]), match[0]), text)


def recombine(value: str, other: str, generator: random.Random) -> str:
    """A value of the same form whose pieces, digits and what stands between them, are of one or the other at random.

    What both have in common, such as the prefix of all telephone numbers, stays. Values of different forms: one of the
    two.
    """
    pieces, others = _PIECES.findall(value), _PIECES.findall(other)
    if len(pieces) != len(others):
        return generator.choice((value, other))
    return "".join(generator.choice(pair) for pair in zip(pieces, others, strict=True))


def match_case(word: str, original: str) -> str:
    """The word in capitals or in small letters where the original is, else as it stands."""
    if original.islower():
        return word.lower()
    return word.upper() if original.isupper() and len(original) > 1 else word


def _month(text: str, generator: random.Random, languages: Sequence[str]) -> str:
    return generator.choice(months_like(text, languages))


def _signs(text: str, generator: random.Random) -> str:
    """Draws a letter of the same script for each letter, vowels for vowels, and a digit for each digit that is free."""
    shape = digit_shape(text)
    signs = []
    for index, (sign, form) in enumerate(zip(text, shape, strict=True)):
        if sign.isdecimal():
            first = index == 0 or not text[index - 1].isdecimal()
            signs.append(sign if form == "0" else _digit(sign, generator, least=1 if first else 0))
        elif sign.isalpha() and (sign.isupper() or sign.islower()):
            signs.append(_letter(sign, generator))
        else:
            signs.append(sign)
    return "".join(signs)


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


def _url(text: str, generator: random.Random, is_common: Callable[[str], bool]) -> str:
    """Draws new signs for what follows the host, except common words; for the host's own name where nothing follows."""
    match = re.match(r"((?:https?://)?(?:www\.)?)([^/?#]+)(.*)", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        return text
    scheme, host, rest = match.groups()
    if len(rest) > 1:
        path = re.sub(r"[^\W_]+", lambda part: part[0] if is_common(part[0]) else _signs(part[0], generator), rest)
        return f"{scheme}{host}{path}"
    labels = host.split(".")
    own = max(0, len(labels) - 2)
    labels[own] = _signs(labels[own], generator)
    return f"{scheme}{'.'.join(labels)}{rest}"


def _year(text: str, generator: random.Random) -> str:
    if len(text) != 4:
        return _signs(text, generator)
    year = int(text)
    century = year - year % 100
    drawn = generator.randint(max(century, year - _YEARS_BEFORE), min(century + 99, year + _YEARS_BEFORE // 4))
    return _in_digits_of(text, f"{drawn:04d}")


def _up_to(most: int) -> Callable[[str, random.Random], str]:
    """A maker of numbers from 1 to `most`, with as many digits as the given one."""

    def make(text: str, generator: random.Random) -> str:
        return _in_digits_of(text, str(generator.randint(1, most)).zfill(len(text)))

    return make


def _ordinal(text: str, generator: random.Random) -> str:
    number = generator.randint(1, 28)
    suffix = "th" if 10 < number < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix.upper() if text[-1].isupper() else suffix}"


def _in_digits_of(text: str, digits: str) -> str:
    """The digits 0 to 9 written in the script of the text's digits."""
    zero = ord(text[0]) - unicodedata.digit(text[0])
    return "".join(chr(zero + int(digit)) for digit in digits)


_MAKERS: dict[Kind, Callable[[str, random.Random], str]] = {
    "year": _year,
    "day": _up_to(28),
    "month number": _up_to(12),
    "ordinal": _ordinal,
}


def _same_shape(value: str, text: str, kind: Kind) -> bool:
    if kind in ("month", "year"):
        return True
    if kind in ("ordinal", "word"):
        return len(value) == len(text)
    return letter_shape(value) == letter_shape(text)
