"""docs/operations.md agrees with settings, compose file, Dockerfile and metrics."""

import re

from pydantic_core import PydanticUndefined

from core.settings import Settings
from tests.integration.deployment.compose_file import PASSWORDS, ROOT, load
from tests.integration.deployment.dockerfile import instructions

PAGE = (ROOT / "docs" / "operations.md").read_text()


def test_every_setting_is_in_the_table_with_its_default_and_nothing_else_is() -> None:
    section = PAGE.split("\n## Settings\n")[1].split("\n## ")[0]
    rows = {
        name: default.strip() for name, default in re.findall(r"^\| `([A-Z_]+)` \|([^|]*)\|", section, re.MULTILINE)
    }
    assert list(rows) == [name.upper() for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        shown, default = rows[name.upper()], field.default
        if default is PydanticUndefined:
            assert shown == "", name
        elif default is None or default == []:
            assert shown, name
            assert "`" not in shown, name
        else:
            assert shown == f"`{str(default).lower() if isinstance(default, bool) else default}`", name


def test_every_service_and_volume_is_in_its_table() -> None:
    compose = load(PASSWORDS)
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*)$", PAGE.split("\n## Compose\n")[1].split("\n## ")[0], re.MULTILINE)
    assert {name for name, _ in rows} == set(compose["services"])
    volumes = {name: set(re.findall(r"`([a-z-]+)`", text.rsplit("|", 2)[1])) for name, text in rows}
    assert set().union(*volumes.values()) == set(compose["volumes"])


def test_every_build_argument_is_in_its_table() -> None:
    arguments = {line.rest.split("=")[0] for line in instructions() if line.word == "ARG"}
    table = PAGE.split("\n### Building\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == arguments


def test_the_metrics_to_watch_exist() -> None:
    source = "".join((ROOT / file).read_text() for file in ("api/http/prometheus.py", "worker/metrics.py"))
    figures = {figure.removesuffix("_total") for figure in re.findall(r"`(unlearning_\w+)", PAGE)}
    assert len(figures) > 5
    assert [figure for figure in figures if f'"{figure}"' not in source] == []
