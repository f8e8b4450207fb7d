"""The subcommands of `unlearn`: a module is loaded when its command is called, or when all are listed."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from api.cli.output import end_with_error

COMMANDS = {
    "up": "api.cli.up:up",
    "down": "api.cli.up:down",
    "migrate": "api.cli.up:migrate",
    "demo": "api.cli.demo:demo",
    "submit": "api.cli.submit:submit",
    "jobs": "api.cli.jobs:app",
    "pause": "api.cli.job_actions:pause",
    "resume": "api.cli.job_actions:resume",
    "retry": "api.cli.job_actions:retry",
    "cancel": "api.cli.job_actions:cancel",
    "release": "api.cli.release:release",
    "report": "api.cli.report:report",
    "statement": "api.cli.statement:statement",
    "verify": "api.cli.verify:verify",
    "audit": "api.cli.audit:app",
    "models": "api.cli.models:app",
    "files": "api.cli.files:app",
    "policies": "api.cli.policies:app",
    "webhooks": "api.cli.webhooks:app",
    "keys": "api.cli.keys:app",
    "signer": "api.cli.signer:app",
    "run": "api.cli.submit:run",
    "measure": "api.cli.measure:measure",
    "preflight": "api.cli.preflight:preflight",
    "methods": "api.cli.methods:methods",
    "measurements": "api.cli.measurements:measurements",
    "events": "api.cli.events:events",
    "openapi": "api.cli.openapi:openapi",
    "bench": "api.cli.bench:app",
}
"""Each command with the module and the name of its function or its group, in the order of the help."""

USAGE_ERROR: type[Any] = typer.BadParameter.__mro__[1]
"""The error of every wrong call. Typer keeps it in a module of its own."""


class LazyCommands(Mapping[str, Any]):
    """The commands by name."""

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            group = typer.main.get_group(command)
            group.name = name
            return group
        single = typer.Typer(add_completion=False)
        single.command(name)(command)
        return typer.main.get_command(single)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class Commands(TyperGroup):
    """The group of all commands. With `--json` a wrong call is reported as JSON, as every other error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands: Any = LazyCommands()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            if not as_json:
                raise
            end_with_error(error.format_message(), error.exit_code, as_json=True)
