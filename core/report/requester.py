"""Sentences on who asked: the key, its organisation and the reference that the request gave."""

_KNOWN = (
    "The service knows who asked by the API key alone, and by the name that the organisation gave to it. Who used the"
    " key, and on whose behalf, only the organisation's own records tell."
)


def requester_words(external_reference: str | None) -> str:
    """Returns what the service knows of who asked, and how the organisation's own records are found."""
    if external_reference is None:
        return f"{_KNOWN} The request names no reference to them."
    return f"{_KNOWN} The reference leads to them."
