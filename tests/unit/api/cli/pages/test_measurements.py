"""docs/measurements.md is generated from the catalogue, and is up to date."""

from pathlib import Path

from typer.testing import CliRunner

from api.cli.app import app
from api.cli.pages import measurements as measurements_page
from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.policy import preview

PAGE = Path(__file__).parents[5] / "docs" / "measurements.md"


def test_the_committed_page_is_up_to_date() -> None:
    result = CliRunner().invoke(app, ["measurements", "--markdown"])
    assert result.exit_code == 0
    assert result.stdout == PAGE.read_text(encoding="utf-8"), (
        "make it again: unlearn measurements --markdown > docs/measurements.md"
    )


def test_every_measurement_has_a_section_with_summary_and_parameters() -> None:
    sections = measurements_page.page().split("\n### ")[1:]
    assert [section.split("\n")[0] for section in sections] == sorted(MEASUREMENTS)
    for section in sections:
        measurement = MEASUREMENTS[section.split("\n")[0]]
        assert measurement.summary in section
        assert (f"Group: `{measurement.group}`" in section) == (measurement.group is not None)
        if measurement.source is not None:
            assert f"]({measurement.source.url})" in section
        for parameter in measurement.model_fields:
            (row,) = (line for line in section.split("\n") if line.startswith(f"| `{parameter}` | "))
            assert not row.endswith("|  |"), f"{measurement.name}.{parameter} has no description"


def test_the_rule_of_the_dry_run_names_the_limits_that_the_code_uses() -> None:
    section = measurements_page.page().split("\n## Is there anything to forget?\n")[1].split("\n## ")[0]
    for limit in (preview.MARGIN, preview.EXTRACTED, preview.CHANCE, preview.AUC_END, preview.FEW, preview.SHIFTED):
        assert f"{limit:g}" in section


def test_the_terminal_lists_every_measurement() -> None:
    result = CliRunner().invoke(app, ["measurements"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert all(name in result.stdout for name in MEASUREMENTS)
