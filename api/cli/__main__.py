"""`python -m api.cli`: the `unlearn` command."""

from api.cli.app import app

app()
