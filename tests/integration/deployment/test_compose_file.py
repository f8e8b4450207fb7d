"""docker-compose.yml as text: valid, safe by default, and nothing starts without secrets."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from core.settings import Settings
from tests.integration.deployment.compose_file import FILE, PASSWORDS, ROOT, MissingVariable, load, read_env

SCHEMA = Path(__file__).parent / "compose_spec" / "compose-spec.json"
OUR_SERVICES = ("migrate", "signer", "api", "worker", "worker-gpu")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load(PASSWORDS)


def test_the_file_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    errors = list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(compose))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize("missing", sorted(PASSWORDS))
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_nothing_starts_without_a_password(missing: str, how: str) -> None:
    variables = {name: value for name, value in PASSWORDS.items() if name != missing}
    with pytest.raises(MissingVariable, match=missing):
        load(variables if how == "unset" else {**variables, missing: ""})


def test_no_password_stands_in_the_file() -> None:
    text = FILE.read_text()
    assert set(re.findall(r"\$\{(\w*PASSWORD)([^}]{0,2})", text)) == {
        ("POSTGRES_PASSWORD", ":?"),
        ("REDIS_PASSWORD", ":?"),
        ("SERVICE_DB_PASSWORD", ":?"),
        ("SIGNER_DB_PASSWORD", ":?"),
    }
    assert re.findall(r"://[^\s:@/]*:([^\s@$]+)@", text) == []


def test_the_example_names_every_variable_that_is_required_and_holds_no_secret() -> None:
    example = read_env(ROOT / ".env.example")
    required = set(re.findall(r"\$\{(\w+):\?", FILE.read_text()))
    assert {name for name, value in example.items() if value == ""} == required
    with pytest.raises(MissingVariable):
        load(example)


def test_the_other_values_of_the_example_are_the_defaults_of_the_compose_file(compose: dict[str, Any]) -> None:
    example = {name: value for name, value in read_env(ROOT / ".env.example").items() if value}
    assert load({**example, **PASSWORDS}) == compose
    for name in example:
        assert load({**example, name: "changed", **PASSWORDS}) != compose, f"{name} changes nothing"


@pytest.mark.parametrize("name", ["postgres", "redis", *OUR_SERVICES])
def test_every_service_is_confined(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert "/tmp" in service["tmpfs"]
    assert not service.get("privileged")
    assert "cap_add" not in service or name == "postgres"
    assert service.get("restart") == ("no" if name == "migrate" else "unless-stopped")
    assert all(mount.get("read_only") for mount in service.get("volumes", []) if isinstance(mount, dict))


def test_only_the_api_is_reachable_and_only_from_this_machine(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"api"}
    assert services["api"]["ports"] == ["127.0.0.1:8000:8000"]
    assert compose["networks"]["inside"]["internal"] is True
    assert {name for name, service in services.items() if service["networks"] != ["inside"]} == {"api"}


def test_only_the_signer_has_the_private_keys_and_only_migrate_the_owners_password(compose: dict[str, Any]) -> None:
    services = compose["services"]
    keys = {name for name, service in services.items() if "signing-keys" in json.dumps(service.get("volumes", []))}
    assert keys == {"signer"}
    owner = {name for name, service in services.items() if PASSWORDS["POSTGRES_PASSWORD"] in json.dumps(service)}
    assert owner == {"migrate", "postgres"}
    signing = {name for name, service in services.items() if PASSWORDS["SIGNER_DB_PASSWORD"] in json.dumps(service)}
    assert signing == {"migrate", "signer"}
    assert "secrets" not in services["signer"]
    assert PASSWORDS["REDIS_PASSWORD"] not in json.dumps(services["signer"])


def test_every_image_has_a_pinned_tag(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    assert all(re.search(r":[\w.-]+$", image) and not image.endswith(":latest") for image in images)
    assert compose["services"]["postgres"]["image"].split(":")[1].startswith("18")
    assert compose["services"]["redis"]["image"].split(":")[1].startswith("7")


def test_services_start_in_order_and_the_api_does_not_wait_for_redis(compose: dict[str, Any]) -> None:
    needs = {name: service.get("depends_on", {}) for name, service in compose["services"].items()}
    migrated = {"migrate": {"condition": "service_completed_successfully"}}
    assert needs["migrate"] == {"postgres": {"condition": "service_healthy"}}
    assert needs["api"] == needs["signer"] == migrated
    assert needs["worker"] == needs["worker-gpu"] == {**migrated, "redis": {"condition": "service_healthy"}}


def test_every_service_that_keeps_running_has_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["healthcheck"] == {"disable": True} if name == "migrate" else service["healthcheck"]["test"], (
            name
        )


def test_gpus_are_reserved_in_a_profile_only(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name for name, service in services.items() if "profiles" in service} == {"worker-gpu"}
    devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]
    assert services["worker-gpu"]["build"]["args"]["TORCH"] == "cuda"
    assert services["worker"]["build"]["args"]["TORCH"] == services["api"]["build"]["args"]["TORCH"] == "cpu"
    assert services["worker"]["image"] != services["worker-gpu"]["image"]


def test_every_service_of_ours_gets_settings_that_exist(compose: dict[str, Any]) -> None:
    known = {name.upper() for name in Settings.model_fields} | {"NVIDIA_DRIVER_CAPABILITIES"}
    for name in OUR_SERVICES:
        assert set(compose["services"][name]["environment"]) <= known


def test_every_named_mount_is_a_declared_volume(compose: dict[str, Any]) -> None:
    named = {
        mount.split(":")[0] if isinstance(mount, str) else mount["source"]
        for service in compose["services"].values()
        for mount in service.get("volumes", [])
        if isinstance(mount, str) or mount["type"] == "volume"
    }
    assert named == set(compose["volumes"])
    # 18 and later keep each major version's data in a folder below this one
    assert compose["services"]["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]
