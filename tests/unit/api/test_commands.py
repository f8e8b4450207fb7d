from typer.testing import CliRunner

from api.cli import app


def test_a_key_is_not_made_with_a_scope_that_opens_nothing() -> None:
    done = CliRunner().invoke(app, ["keys", "create", "first", "--scope", "jobs:reed"], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert "no such scope: jobs:reed" in done.output
