"""The media type of an answer by `Accept`."""

import pytest

from api.http.media_types import preferred

OFFERED = ["application/json", "text/html", "application/pdf"]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        (BROWSER, "text/html"),
        ("application/pdf", "application/pdf"),
        ("text/*", "text/html"),
        ("application/*", "application/json"),
        ("text/html;q=0.5, application/pdf;q=0.7", "application/pdf"),
        ("application/json;q=0, */*", "text/html"),
        ("Application/PDF ; q=1", "application/pdf"),
        ("text/html;q=x, application/pdf;q=0.1", "application/pdf"),
        ("text/plain", None),
        ("*/*;q=0", None),
        ("nonsense", None),
    ],
)
def test_the_type_that_the_client_wants_most_is_chosen(accept: str, chosen: str | None) -> None:
    assert preferred(accept, OFFERED) == chosen
