"""The Dockerfile as text. `make image` builds it and starts its services."""

import json
import re

from tests.integration.deployment.compose_file import PASSWORDS, ROOT, load
from tests.integration.deployment.dockerfile import environment, instructions


def test_nothing_runs_as_root() -> None:
    last = [line.rest for line in instructions() if line.stage == "runtime" and line.word == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", last), "a number, so that Kubernetes can see that it is not root"
    words = [line.word for line in instructions() if line.stage == "runtime"]
    assert words[-1] == "USER"


def test_the_base_image_is_an_argument_with_a_pinned_default() -> None:
    arguments = dict(line.rest.split("=", 1) for line in instructions() if line.word == "ARG" and "=" in line.rest)
    assert re.search(r":3\.\d+-slim-\w+$", arguments["BASE_IMAGE"])
    stages = {line.stage for line in instructions() if line.stage}
    assert {line.rest.split()[0] for line in instructions() if line.word == "FROM"} - stages == {"${BASE_IMAGE}"}
    assert load(PASSWORDS)["services"]["api"]["build"]["args"]["BASE_IMAGE"] == (arguments["BASE_IMAGE"])


def test_no_secret_gets_into_a_layer() -> None:
    for line in instructions():
        if line.word in ("ARG", "ENV"):
            assert not re.search(r"password|secret|token|key", line.rest, re.IGNORECASE), line
        if line.word == "COPY":
            assert ".env" not in line.rest
            assert not line.rest.startswith(". ")


def test_every_copied_source_exists_and_passes_dockerignore() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in instructions()
        if line.word == "COPY" and not line.rest.startswith("--from")
        for source in line.rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_the_runtime_stage_has_no_build_tools() -> None:
    runtime = [line for line in instructions() if line.stage == "runtime"]
    assert not any("pip" in line.rest for line in runtime if line.word == "RUN")
    copied = [line.rest for line in runtime if line.word == "COPY"]
    assert copied == ["--from=dependencies /opt/venv /opt/venv", "--from=builder /opt/unlearn /opt/unlearn"]


def test_a_change_of_code_does_not_rebuild_the_layer_of_dependencies() -> None:
    before = [line.rest for line in instructions() if line.stage == "dependencies" and line.word == "COPY"]
    assert before == ["pyproject.toml constraints.txt ./"]


def test_its_command_and_health_check_are_the_compose_files() -> None:
    api = load(PASSWORDS)["services"]["api"]
    command = next(line.rest for line in instructions() if line.word == "CMD")
    assert json.loads(command) == [part for word in api["command"] for part in word.split("=")]
    check = next(line.rest for line in instructions() if line.word == "HEALTHCHECK")
    assert json.loads(check[check.index("[") :]) == api["healthcheck"]["test"][1:]


def test_its_folders_are_the_mount_points_of_the_volumes() -> None:
    created = set(
        re.findall(r"/var/lib/unlearn/\w+", " ".join(line.rest for line in instructions() if line.word == "RUN"))
    )
    settings = {value for value in environment().values() if value.startswith("/var/lib/unlearn")}
    mounted = set()
    for service in load(PASSWORDS)["services"].values():
        for mount in service.get("volumes", []):
            target = mount["target"] if isinstance(mount, dict) else mount.split(":")[1]
            mounted |= {target} if target.startswith("/var/lib/unlearn") else set()
    # the image names no key store: keys in a container without the volume would go with it
    assert settings | {"/var/lib/unlearn/keys"} == created == mounted
