from pathlib import Path

from typer.testing import CliRunner

from api.cli import events_page
from api.cli.app import app
from core.schema.event_types import EVENTS

PAGE = Path(__file__).parents[4] / "docs" / "events.md"


def test_the_committed_page_is_what_the_catalogue_says() -> None:
    result = CliRunner().invoke(app, ["events", "--markdown"])
    assert result.exit_code == 0
    assert result.stdout == PAGE.read_text(encoding="utf-8"), "make it anew: unlearn events --markdown > docs/events.md"


def test_every_event_has_its_section_with_meaning_and_data() -> None:
    sections = {section.split("\n")[0]: section for section in events_page.page().split("\n## ")[1:]}
    assert list(sections) == list(EVENTS)
    for type, description in EVENTS.items():
        assert description.meaning in sections[type]
        for name, meaning in description.data.items():
            assert f"| `{name}` | {meaning} |\n" in sections[type]


def test_the_command_lists_every_event() -> None:
    result = CliRunner().invoke(app, ["events"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert all(type in result.stdout for type in EVENTS)
