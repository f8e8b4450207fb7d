"""docs/events.md is generated from the catalogue, and is up to date."""

from pathlib import Path

from typer.testing import CliRunner

from api.cli.app import app
from api.cli.pages import events as events_page
from core.schema.event_types import EVENTS

PAGE = Path(__file__).parents[5] / "docs" / "events.md"


def test_the_committed_page_is_up_to_date() -> None:
    result = CliRunner().invoke(app, ["events", "--markdown"])
    assert result.exit_code == 0
    assert result.stdout == PAGE.read_text(encoding="utf-8"), (
        "make it again: unlearn events --markdown > docs/events.md"
    )


def test_every_event_has_a_section_with_meaning_and_data() -> None:
    sections = {section.split("\n")[0]: section for section in events_page.page().split("\n## ")[1:]}
    assert list(sections) == list(EVENTS)
    for event_type, description in EVENTS.items():
        assert description.meaning in sections[event_type]
        for name, meaning in description.data.items():
            assert f"| `{name}` | {meaning} |\n" in sections[event_type]


def test_the_command_lists_every_event() -> None:
    result = CliRunner().invoke(app, ["events"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert all(event_type in result.stdout for event_type in EVENTS)
