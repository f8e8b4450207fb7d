"""The choice of an answer's media type by the request's `Accept` (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """Returns the offered media type that the client wants most, of equals the first. None: it accepts none of them.

    A part of the header that cannot be read counts for nothing. An empty header accepts everything.
    """
    ranges = [range_ for part in accept.split(",") if (range_ := _media_range(part)) is not None]
    if not accept.strip():
        return offered[0]
    best = max(offered, key=lambda offer: _quality(offer, ranges))
    return best if _quality(best, ranges) > 0 else None


def _media_range(part: str) -> tuple[str, float] | None:
    name, *parameters = [piece.strip().lower() for piece in part.split(";")]
    quality = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                quality = float(parameter.removeprefix("q="))
            except ValueError:
                return None
    return (name, quality) if "/" in name else None


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that the offer is in; 0: it is in none."""
    group = offer.partition("/")[0]
    for name in (offer, f"{group}/*", "*/*"):
        if qualities := [quality for range_, quality in ranges if range_ == name]:
            return max(qualities)
    return 0.0
