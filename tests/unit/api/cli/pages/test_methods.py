"""docs/methods.md is generated from the catalogue, and is up to date."""

from pathlib import Path

from typer.testing import CliRunner

from api.cli.app import app
from api.cli.pages import methods as methods_page
from api.cli.pages.parameters import parameter_rows
from core.unlearning.objectives import METHODS

PAGE = Path(__file__).parents[5] / "docs" / "methods.md"


def test_the_committed_page_is_up_to_date():
    result = CliRunner().invoke(app, ["methods", "--markdown"])
    assert result.exit_code == 0
    assert result.stdout == PAGE.read_text(encoding="utf-8"), (
        "make it again: unlearn methods --markdown > docs/methods.md"
    )


def test_every_method_has_a_section_with_formula_paper_and_parameters():
    _, methods = methods_page.page().split("\n## The methods\n")
    sections = methods.split("\n## ")[1:]
    assert [section.split("\n")[0] for section in sections] == sorted(METHODS)
    for section in sections:
        method = METHODS[section.split("\n")[0]]
        assert f"\n    {method.formula}\n" in section
        assert f"]({method.paper.url})" in section
        for parameter in method.model_fields:
            (row,) = (line for line in section.split("\n") if line.startswith(f"| `{parameter}` | "))
            assert not row.endswith("|  |"), f"{method.name}.{parameter} has no description"


def test_bounds_defaults_and_choices_are_shown():
    sections = {section.split("\n")[0]: section for section in methods_page.page().split("\n## ")[1:]}
    assert "| `beta` | 0.1 | number, > 0, ≤ 1000 | β" in sections["npo"]
    assert "| `weighted` | false | true, false |" in sections["token_npo"]
    assert "| `skip` | 1 | whole number, ≥ 0, ≤ 1000000 |" in sections["ce_u"]
    assert "| `retain_term` | `descent` | `none`, `descent`, `kl` |" in sections["npo"]
    assert "| `retain_term` | `none` | `none` |" in sections["task_vector"]
    assert "| `at_layer` | none | whole number, ≥ 0, ≤ 1000 or none |" in sections["rmu"]
    assert "| `refusals` | none | list of strings, 1 to 1000 of them or none |" in sections["refusal"]
    assert "Small models: learning rate 0.0003, epochs 4" in sections["undial"]
    assert "large models: learning rate 0.0001, epochs 10" in sections["undial"]


def test_a_bar_in_a_cell_is_escaped():
    (row,) = parameter_rows({"a": {"type": "string", "description": "KL(p | q)"}}, {"a": "x"})
    assert row == "| `a` | `x` | string | KL(p \\| q) |"
