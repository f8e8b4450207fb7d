"""The `unlearn` command. Work that needs torch is done in child processes."""

import typer

from api.cli import files, keys, policies, signer, up
from api.cli.bench import app as bench
from api.cli.demo import demo
from api.cli.events import events
from api.cli.job_actions import cancel, pause, resume, retry
from api.cli.measure import measure
from api.cli.measurements import measurements
from api.cli.methods import methods
from api.cli.openapi import openapi
from api.cli.preflight import preflight
from api.cli.release import release
from api.cli.submit import run, submit
from api.cli.verify import verify

app = typer.Typer(
    help="Make language models forget text, measure what is left, and keep the evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # locals may hold forget data
)
app.command()(up.up)
app.command()(up.down)
app.command()(up.migrate)
app.command()(demo)
app.command()(submit)
app.command()(run)
for action in (pause, resume, retry, cancel):
    app.command()(action)
app.command()(measure)
app.command()(measurements)
app.command()(release)
app.command()(verify)
app.command()(methods)
app.command()(events)
app.command()(openapi)
app.command()(preflight)
app.add_typer(files.app, name="files")
app.add_typer(keys.app, name="keys")
app.add_typer(policies.app, name="policies")
app.add_typer(signer.app, name="signer")
app.add_typer(bench, name="bench")
