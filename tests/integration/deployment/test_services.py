"""Every service of docker-compose.yml, as a process with that environment against real servers.

PostgreSQL's own image cannot be started here: the real PostgreSQL gets the arguments that the file gives it.
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

from core.embedded import Stack
from core.embedded.account import server_account
from core.embedded.postgres import SETTINGS, Postgres
from core.embedded.process import launch_server
from core.embedded.software import postgres_software, redis_server
from core.records.engine import make_engine
from core.records.migrate import is_current
from tests.integration.deployment.compose_file import load, read_env
from tests.integration.deployment.service import Service
from tests.integration.deployment.test_make_env import make
from tests.servers import new_database, short_folder

Services = Callable[[str], Service]


def free_port() -> int:
    """A TCP port of the loopback address that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture(scope="module")
async def module_database_url(stack: Stack, template_url: str) -> AsyncIterator[str]:
    async with new_database(stack, template=template_url) as url:
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `deploy/make-env.sh` makes."""
    made = tmp_path_factory.mktemp("compose")
    make(made)
    return made


@pytest.fixture(scope="module")
def compose(folder: Path) -> dict[str, Any]:
    return load(read_env(folder / ".env"))


@pytest.fixture(scope="module")
def services(stack: Stack, module_database_url: str, folder: Path, compose: dict[str, Any]) -> Services:
    """Services by name, all on the same servers, each in a folder of its own."""
    passwords = read_env(folder / ".env")
    port = free_port()
    shared = {
        f"postgresql+asyncpg://unlearn:{passwords['POSTGRES_PASSWORD']}@postgres:5432/unlearn": module_database_url,
        f"redis://:{passwords['REDIS_PASSWORD']}@redis:6379/0": stack.redis_url,
        "/run/secrets/service_key": str(folder / compose["secrets"]["service_key"]["file"]),
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "--port=8000": f"--port={port}",
        "--host=0.0.0.0": "--host=127.0.0.1",
    }

    def service(name: str) -> Service:
        own = folder / name
        for part in ("scratch", "models", "locks"):
            (own / part).mkdir(parents=True, exist_ok=True)
        folders = {"/var/lib/unlearn": own, "/var/lib/unlearn/models": own / "models", "/models": folder / "models"}
        places = {**shared, **{there: str(here) for there, here in folders.items()}}
        return Service(compose["services"][name], places, own)

    return service


async def test_migrate_brings_an_empty_database_up_to_date(stack: Stack, services: Services) -> None:
    migrate = services("migrate")
    async with new_database(stack) as empty:
        used = migrate.environment["DATABASE_URL"]
        places = {there: empty if here == used else here for there, here in migrate.places.items()}
        migrate = replace(migrate, places=places)
        engine = make_engine(empty)
        try:
            assert not await is_current(engine)
            code, output = await migrate.run(migrate.command)
            assert code == 0, output
            assert await is_current(engine)
            assert (await migrate.run(migrate.command))[0] == 0, "compose runs it at every start"
        finally:
            await engine.dispose()


async def test_the_api_becomes_healthy_answers_and_leaves_when_told(services: Services) -> None:
    api = services("api")
    assert (await api.health())[0] != 0
    async with api.running():
        url = "http://" + api.here("127.0.0.1:8000")
        async with httpx.AsyncClient(base_url=url) as client:
            code, key = await api.run(["unlearn", "keys", "create", "first"])
            assert code == 0, key
            answer = await client.get("/v1/jobs", headers={"Authorization": f"Bearer {key.strip()}"})
            assert (answer.status_code, answer.json()["data"]) == (200, [])
            assert (await client.get("/v1/jobs")).status_code == 401
    assert (await api.health())[0] != 0


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
async def test_a_worker_becomes_healthy_and_leaves_when_told(services: Services, name: str) -> None:
    worker = services(name)
    code, said = await worker.health()
    assert code == 1, "nobody has given a sign of life yet"
    assert "no sign of life" in said
    async with worker.running() as process:
        pass
    assert process.returncode == 0
    assert (await worker.health())[0] == 1, "it has said goodbye"


async def test_a_workers_health_check_fails_without_a_database_and_says_so(services: Services) -> None:
    worker = services("worker")
    places = {**worker.places, "@postgres:5432": f"@127.0.0.1:{free_port()}"}
    nowhere = {there: here for there, here in places.items() if not there.startswith("postgresql")}
    code, said = await Service(worker.definition, nowhere, worker.folder).health()
    assert (code, said) == (1, "the database does not answer (ConnectionRefusedError)\n")


async def test_redis_keeps_hints_wants_its_password_and_throws_nothing_away(
    folder: Path, compose: dict[str, Any], tmp_path: Path
) -> None:
    definition = compose["services"]["redis"]
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("redis-server", "redis-cli"):
        (programs / program).symlink_to(redis_server().with_name(program))
    port, own = free_port(), tmp_path / "redis"
    (own / "data").mkdir(parents=True)
    redis = Service(definition, {"6379": str(port), "/data": str(own / "data")}, own, (programs,))
    password = read_env(folder / ".env")["REDIS_PASSWORD"]
    assert password not in " ".join(redis.command)

    def client(password: str | None) -> Redis:
        return Redis(host="127.0.0.1", port=port, password=password, decode_responses=True)

    async with redis.running() as process:
        assert password not in " ".join(psutil.Process(process.pid).cmdline())
        async with client(password) as known, client(None) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.ping()
            assert (await known.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
            await known.lpush("hints", "work")
    async with redis.running(), client(password) as known:
        assert await known.lrange("hints", 0, -1) == ["work"], "a restart loses nothing"


async def test_postgres_takes_its_arguments_and_its_health_check_tells_when_it_is_up(compose: dict[str, Any]) -> None:
    definition = compose["services"]["postgres"]
    program, *arguments = definition["command"]
    wanted = dict(word.split("=") for word in arguments if word != "-c")
    software = postgres_software()
    with short_folder() as data:
        embedded = Postgres(data)
        embedded.start()
        password = embedded.url().split(":")[2].split("@")[0]
        embedded.stop()
        port, place = free_port(), embedded.state_folder
        own = ["-D", str(embedded.cluster), "-k", str(place / "run"), "-p", str(port)]
        health = Service(definition, {"--host=127.0.0.1": f"--host=127.0.0.1 --port={port}"}, data, (software / "bin",))
        check = [word for part in definition["healthcheck"]["test"][1:] for word in health.here(part).split()]
        assert (await health.run(check))[0] != 0
        process = launch_server(
            [str(software / "bin" / program), *own, *arguments], log=data / "log", cwd=place, account=server_account()
        )
        try:
            for _ in range(100):
                if (await health.run(check))[0] == 0:
                    break
            connection = await asyncpg.connect(
                host="127.0.0.1", port=port, user="unlearn", password=password, database="unlearn"
            )
            found = {name: await connection.fetchval("SELECT current_setting($1)", name) for name in wanted}
            await connection.close()
        finally:
            embedded.stop()
            process.wait(30)
    assert found == wanted
    # the same care with record text, and room for as many clients, as in the embedded server
    assert wanted == {name: value for name, value in SETTINGS.items() if name in wanted}
    assert set(SETTINGS) - set(wanted) == {"listen_addresses", "unix_socket_permissions"}
