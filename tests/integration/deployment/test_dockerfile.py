"""The Dockerfile, as text; `make image` builds it and starts what is in it."""

import json
import re

from tests.integration.deployment.compose_file import PASSWORDS, ROOT, load
from tests.integration.deployment.dockerfile import environment, instructions


def test_nothing_runs_as_root() -> None:
    last = [one.rest for one in instructions() if one.stage == "runtime" and one.word == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last), "a number, so that Kubernetes can see that it is not root"
    words = [one.word for one in instructions() if one.stage == "runtime"]
    assert words[-1] == "USER"


def test_the_base_is_an_argument_with_a_default_that_does_not_float() -> None:
    arguments = dict(one.rest.split("=", 1) for one in instructions() if one.word == "ARG" and "=" in one.rest)
    assert re.search(r":3\.\d+-slim-\w+$", arguments["BASE_IMAGE"])
    stages = {one.stage for one in instructions() if one.stage}
    assert {one.rest.split()[0] for one in instructions() if one.word == "FROM"} - stages == {"${BASE_IMAGE}"}
    assert load(PASSWORDS)["services"]["api"]["build"]["args"]["BASE_IMAGE"] == (arguments["BASE_IMAGE"])


def test_no_secret_gets_into_a_layer() -> None:
    for one in instructions():
        if one.word in ("ARG", "ENV"):
            assert not re.search(r"password|secret|token|key", one.rest, re.IGNORECASE), one
        if one.word == "COPY":
            assert ".env" not in one.rest
            assert not one.rest.startswith(". ")


def test_every_source_exists_and_is_let_in() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for one in instructions()
        if one.word == "COPY" and not one.rest.startswith("--from")
        for source in one.rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def test_the_builders_tools_stay_behind() -> None:
    runtime = [one for one in instructions() if one.stage == "runtime"]
    assert not any("pip" in one.rest for one in runtime if one.word == "RUN")
    copied = [one.rest for one in runtime if one.word == "COPY"]
    assert copied == ["--from=dependencies /opt/venv /opt/venv", "--from=builder /opt/unlearn /opt/unlearn"]


def test_a_change_of_code_makes_no_layer_of_dependencies_again() -> None:
    before = [one.rest for one in instructions() if one.stage == "dependencies" and one.word == "COPY"]
    assert before == ["pyproject.toml constraints.txt ./"]


def test_it_starts_and_checks_the_api_as_the_compose_file_does() -> None:
    api = load(PASSWORDS)["services"]["api"]
    command = next(one.rest for one in instructions() if one.word == "CMD")
    assert json.loads(command) == [part for word in api["command"] for part in word.split("=")]
    check = next(one.rest for one in instructions() if one.word == "HEALTHCHECK")
    assert json.loads(check[check.index("[") :]) == api["healthcheck"]["test"][1:]


def test_its_folders_are_those_that_volumes_are_mounted_on() -> None:
    made = set(re.findall(r"/var/lib/unlearn/\w+", " ".join(one.rest for one in instructions() if one.word == "RUN")))
    settings = {value for value in environment().values() if value.startswith("/var/lib/unlearn")}
    mounted = set()
    for service in load(PASSWORDS)["services"].values():
        for mount in service.get("volumes", []):
            target = mount["target"] if isinstance(mount, dict) else mount.split(":")[1]
            mounted |= {target} if target.startswith("/var/lib/unlearn") else set()
    assert made == settings == mounted
