"""`deploy/make-env.sh` makes random secrets that others cannot read, and never replaces one."""

import base64
import os
import stat
import subprocess
from pathlib import Path

from core.settings import Settings
from tests.integration.deployment.compose_file import PASSWORDS, ROOT, load, read_env


def make(folder: Path) -> str:
    done = subprocess.run([ROOT / "deploy" / "make-env.sh", folder], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_its_files_suffice_to_start(tmp_path: Path) -> None:
    make(tmp_path)
    compose = load(read_env(tmp_path / ".env"))
    environment = {name.lower(): value for name, value in compose["services"]["api"]["environment"].items()}
    file = tmp_path / compose["secrets"]["service_key"]["file"]
    key = Settings.model_validate({**environment, "service_key_file": file}).service_key()
    assert len(key) == 32
    assert (tmp_path / "models").is_dir()


def test_its_secrets_are_random_and_not_shown(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    output = "".join(make(folder) for folder in folders)
    passwords = [read_env(folder / ".env")[name] for folder in folders for name in PASSWORDS]
    keys = [(folder / "secrets" / "service.key").read_text().strip() for folder in folders]
    assert len({*passwords, *keys}) == 2 * (len(PASSWORDS) + 1)
    assert all(len(password) == 64 and password.isalnum() for password in passwords), "they stand in URLs"
    assert not any(secret in output for secret in [*passwords, *keys])


def test_others_cannot_read_them_but_the_images_user_can(tmp_path: Path) -> None:
    before = os.umask(0o000)
    try:
        make(tmp_path)
    finally:
        os.umask(before)
    assert mode(tmp_path / ".env") == 0o600
    assert mode(tmp_path / "secrets") == 0o700
    assert mode(tmp_path / "secrets" / "service.key") == 0o444
    assert (tmp_path / "secrets" / ".gitignore").read_text() == "*\n"


def test_an_env_that_others_can_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in PASSWORDS.items()))
    (tmp_path / ".env").chmod(0o644)
    make(tmp_path)
    assert mode(tmp_path / ".env") == 0o600


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert make(tmp_path) == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_it_adds_what_is_missing_and_keeps_the_rest(tmp_path: Path) -> None:
    secrets = tmp_path / "elsewhere"
    secrets.mkdir()
    (secrets / "service.key").write_text(base64.b64encode(bytes(32)).decode())
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=kept\nSECRETS_DIR=./elsewhere\nAPI_PORT=9000\n")
    make(tmp_path)
    env = read_env(tmp_path / ".env")
    assert (env["POSTGRES_PASSWORD"], env["API_PORT"], len(env["REDIS_PASSWORD"])) == ("kept", "9000", 64)
    assert (secrets / "service.key").read_text() == base64.b64encode(bytes(32)).decode()
    assert not (tmp_path / "secrets").exists()
    assert mode(secrets) == 0o700
