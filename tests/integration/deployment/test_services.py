"""Every service of docker-compose.yml as a process with its environment, against real servers.

These tests cannot start PostgreSQL's own image: a real PostgreSQL gets the arguments of the compose file.
"""

import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError
from sqlalchemy import make_url

from core.embedded import Stack
from core.embedded.account import server_account
from core.embedded.postgres import SETTINGS, Postgres
from core.embedded.process import launch_server
from core.embedded.software import postgres_software, redis_server
from core.records.engine import make_engine
from core.records.migrate import is_current
from core.records.roles import prepare
from tests.integration.deployment.compose_file import load, read_env
from tests.integration.deployment.service import Service
from tests.integration.deployment.test_make_env import make
from tests.servers import new_database, short_folder

Services = Callable[[str], Service]


def free_port() -> int:
    """Returns a TCP port of the loopback address that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture(scope="module")
async def module_database_url(stack: Stack, template_url: str) -> AsyncIterator[str]:
    async with new_database(stack, template=template_url) as url:
        await prepare(
            url, service_url=in_database(stack.service_url, url), signer_url=in_database(stack.signer_url, url)
        )
        yield url


def in_database(url: str, database: str) -> str:
    """Returns the URL of the same role in another database."""
    return make_url(url).set(database=make_url(database).database).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of `deploy/make-env.sh`."""
    folder = tmp_path_factory.mktemp("compose")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def compose(folder: Path) -> dict[str, Any]:
    return load(read_env(folder / ".env"))


@pytest.fixture(scope="module")
def services(stack: Stack, module_database_url: str, folder: Path, compose: dict[str, Any]) -> Services:
    """Services by name, all on the same servers, each in a folder of its own."""
    passwords = read_env(folder / ".env")
    port = free_port()
    roles = {
        "unlearn": (passwords["POSTGRES_PASSWORD"], module_database_url),
        "unlearn_service": (passwords["SERVICE_DB_PASSWORD"], in_database(stack.service_url, module_database_url)),
        "unlearn_signer": (passwords["SIGNER_DB_PASSWORD"], in_database(stack.signer_url, module_database_url)),
    }
    shared = {
        **{
            f"postgresql+asyncpg://{role}:{password}@postgres:5432/unlearn": url
            for role, (password, url) in roles.items()
        },
        f"redis://:{passwords['REDIS_PASSWORD']}@redis:6379/0": stack.redis_url,
        "/run/secrets/service_key": str(folder / compose["secrets"]["service_key"]["file"]),
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "--port=8000": f"--port={port}",
        "--host=0.0.0.0": "--host=127.0.0.1",
    }

    def service(name: str) -> Service:
        service_folder = folder / name
        for part in ("scratch", "models", "locks", "signing"):
            (service_folder / part).mkdir(parents=True, exist_ok=True)
        folders = {
            "/var/lib/unlearn": service_folder,
            "/var/lib/unlearn/models": service_folder / "models",
            "/var/lib/unlearn/keys": folder / "keys",
            "/models": folder / "models",
        }
        replacements = {**shared, **{path: str(local) for path, local in folders.items()}}
        return Service(compose["services"][name], replacements, service_folder)

    return service


async def test_migrate_brings_an_empty_database_up_to_date(stack: Stack, services: Services) -> None:
    migrate = services("migrate")
    async with new_database(stack) as empty:
        replacements = {
            word: in_database(local, empty) if word.startswith("postgresql") else local
            for word, local in migrate.replacements.items()
        }
        migrate = replace(migrate, replacements=replacements)
        engine = make_engine(empty)
        try:
            assert not await is_current(engine)
            code, output = await migrate.run(migrate.command)
            assert code == 0, output
            assert await is_current(engine)
            assert (await migrate.run(migrate.command))[0] == 0, "compose runs it at every start"
            service = make_engine(in_database(stack.service_url, empty))
            assert await is_current(service), "the service's role can read"
            await service.dispose()
        finally:
            await engine.dispose()


async def test_the_api_becomes_healthy_answers_and_ends_on_sigterm(services: Services) -> None:
    api = services("api")
    assert (await api.health())[0] != 0
    async with api.running():
        url = "http://" + api.translate("127.0.0.1:8000")
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            code, key = await api.run(["unlearn", "keys", "create", "first"])
            assert code == 0, key
            response = await client.get("/v1/jobs", headers={"Authorization": f"Bearer {key.strip()}"})
            assert (response.status_code, response.json()["data"]) == (200, [])
            assert (await client.get("/v1/jobs")).status_code == 401
    assert (await api.health())[0] != 0


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
async def test_a_worker_becomes_healthy_and_ends_on_sigterm(services: Services, name: str) -> None:
    worker = services(name)
    code, output = await worker.health()
    assert code == 1, "no worker has given a sign of life yet"
    assert "no sign of life" in output
    async with worker.running() as process:
        pass
    assert process.returncode == 0
    assert (await worker.health())[0] == 1, "it has said goodbye"


async def test_a_workers_health_check_fails_without_a_database_and_says_so(services: Services) -> None:
    worker = services("worker")
    replacements = {**worker.replacements, "@postgres:5432": f"@127.0.0.1:{free_port()}"}
    without_database = {word: local for word, local in replacements.items() if not word.startswith("postgresql")}
    code, output = await Service(worker.definition, without_database, worker.folder).health()
    assert (code, output) == (1, "the database does not answer (ConnectionRefusedError)\n")


async def test_the_signer_becomes_healthy_and_ends_on_sigterm(services: Services) -> None:
    signer = services("signer")
    code, output = await signer.health()
    assert (code, output) == (1, "no sign of life from a signer\n")
    async with signer.running() as process:
        assert len(list((signer.folder / "signing").glob("*.pem"))) == 2
    assert process.returncode == 0


async def test_redis_requires_its_password_evicts_nothing_and_keeps_hints_over_a_restart(
    folder: Path, compose: dict[str, Any], tmp_path: Path
) -> None:
    definition = compose["services"]["redis"]
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("redis-server", "redis-cli"):
        (programs / program).symlink_to(redis_server().with_name(program))
    port, redis_folder = free_port(), tmp_path / "redis"
    (redis_folder / "data").mkdir(parents=True)
    redis = Service(definition, {"6379": str(port), "/data": str(redis_folder / "data")}, redis_folder, (programs,))
    password = read_env(folder / ".env")["REDIS_PASSWORD"]
    assert password not in " ".join(redis.command)

    def client(password: str | None) -> Redis:
        return Redis(host="127.0.0.1", port=port, password=password, decode_responses=True)

    async with redis.running() as process:
        assert password not in " ".join(psutil.Process(process.pid).cmdline())
        async with client(password) as authenticated, client(None) as anonymous:
            with pytest.raises(AuthenticationError):
                await anonymous.ping()
            assert (await authenticated.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
            await authenticated.lpush("hints", "work")
    async with redis.running(), client(password) as authenticated:
        assert await authenticated.lrange("hints", 0, -1) == ["work"], "a restart loses nothing"


async def test_postgres_accepts_its_arguments_and_its_health_check_passes_once_it_is_up(
    compose: dict[str, Any],
) -> None:
    definition = compose["services"]["postgres"]
    program, *arguments = definition["command"]
    expected = dict(word.split("=") for word in arguments if word != "-c")
    software = postgres_software()
    with short_folder() as data:
        embedded = Postgres(data)
        embedded.start()
        password = embedded.url().split(":")[2].split("@")[0]
        embedded.stop()
        port, state_folder = free_port(), embedded.state_folder
        options = ["-D", str(embedded.cluster), "-k", str(state_folder / "run"), "-p", str(port)]
        health = Service(definition, {"--host=127.0.0.1": f"--host=127.0.0.1 --port={port}"}, data, (software / "bin",))
        check = [word for part in definition["healthcheck"]["test"][1:] for word in health.translate(part).split()]
        assert (await health.run(check))[0] != 0
        process = launch_server(
            [str(software / "bin" / program), *options, *arguments],
            log=data / "log",
            cwd=state_folder,
            account=server_account(),
        )
        try:
            for _ in range(100):
                if (await health.run(check))[0] == 0:
                    break
            connection = await asyncpg.connect(
                host="127.0.0.1", port=port, user="unlearn", password=password, database="unlearn"
            )
            current = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in expected}
            await connection.close()
        finally:
            embedded.stop()
            process.wait(30)
    assert current == expected
    # the same care with record text, and room for as many clients, as in the embedded server
    assert expected == {name: value for name, value in SETTINGS.items() if name in expected}
    assert set(SETTINGS) - set(expected) == {"listen_addresses", "unix_socket_permissions"}
