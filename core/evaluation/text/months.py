"""Names of the months in seven languages, so that a month is swapped for another in its language and case."""

from collections.abc import Sequence

_LONG = {
    "en": "january february march april may june july august september october november december",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}
LANGUAGES: dict[str, list[str]] = {language: names.split() for language, names in _LONG.items()}
LANGUAGES["en short"] = [name[:3] for name in LANGUAGES["en"]]
"""Twelve names in lower case, by language."""

MONTHS: frozenset[str] = frozenset(name for names in LANGUAGES.values() for name in names)


def month_style(name: str, languages: Sequence[str] = tuple(LANGUAGES)) -> str:
    """`<month LANGUAGE CASE>` of a month's name, by the first language that has it. Raises ValueError for no month."""
    folded = name.casefold()
    for language in (*languages, *LANGUAGES):
        if folded in LANGUAGES[language]:
            return f"<month {language} {_case(name)}>"
    raise ValueError("no month of a known language")


def months_like(name: str, languages: Sequence[str] = tuple(LANGUAGES)) -> list[str]:
    """The twelve names of the months in the language and case of `name`."""
    language, case = month_style(name, languages).removeprefix("<month ").removesuffix(">").rsplit(" ", 1)
    change = {"lower": str.lower, "upper": str.upper, "title": str.title}[case]
    return [change(month) for month in LANGUAGES[language]]


def _case(name: str) -> str:
    if name.islower():
        return "lower"
    return "upper" if name.isupper() else "title"
