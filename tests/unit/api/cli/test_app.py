"""The command as a whole: its subcommands, wrong calls, and the completion of the shell."""

import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.commands import COMMANDS

HEAVY = "{'torch', 'transformers', 'numpy', 'fastapi', 'sqlalchemy', 'redis', 'alembic'}"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_has_a_help(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert (done.exit_code, f"unlearn {command}" in done.stdout.replace("root", "unlearn")) == (0, True), done.output


def test_the_version_is_that_of_the_package() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"unlearn {version('unlearning-service')}\n")


def test_commands_that_ask_the_service_load_nothing_heavy() -> None:
    program = f"""
import sys
from typer.testing import CliRunner
from api.cli.app import app
for command in ("jobs", "models", "files", "report", "statement", "audit", "submit", "release"):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
print(*sorted({HEAVY} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs", "show", "--json"],
        ["jobs", "list", "--limit", "x", "--json"],
        ["jobs", "lst", "--json"],
        ["x", "--json"],
    ],
)
def test_a_wrong_call_with_json_is_reported_as_json(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    error = json.loads(done.stderr)
    assert (error["exit_code"], bool(error["error"]["message"])) == (2, True)


def test_a_wrong_call_without_json_suggests_a_command() -> None:
    done = CliRunner().invoke(app, ["jobs", "lst"])
    assert (done.exit_code, "Did you mean 'list'?" in done.stderr) == (2, True)


@pytest.mark.parametrize(("words", "completed"), [("unlearn j", "jobs"), ("unlearn jobs fo", "follow")])
def test_the_shell_completes_commands(words: str, completed: str) -> None:
    environment: dict[str, Any] = {
        "_UNLEARN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = CliRunner().invoke(app, [], env=environment, prog_name="unlearn")
    assert done.stdout.split() == [completed]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_can_be_shown(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = CliRunner().invoke(app, ["--show-completion", shell], prog_name="unlearn")
    assert done.exit_code == 0
    assert "_UNLEARN_COMPLETE" in done.stdout


@pytest.mark.parametrize("command", ["methods", "measurements", "events"])
def test_each_catalogue_is_printed_as_one_json_document(command: str) -> None:
    assert json.loads(CliRunner().invoke(app, [command, "--json"]).stdout)["data"]
