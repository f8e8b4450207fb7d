"""Webhooks reach public addresses over TLS, and no others: not by name, not by number, not by a name that changes."""

import datetime
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.webhooks.address_rules import AddressRules, is_public
from api.webhooks.request import open_client, post
from api.webhooks.signature import open_secret, seal_secret, sign
from core.settings import Settings
from tests.integration.api.service import Service, make_settings, register_ready_model
from tests.integration.api.submission import MINIMAL_REQUEST
from tests.integration.webhooks.receiving import SECRET, Receiver, running_receiver
from tests.integration.webhooks.test_deliveries import attempted, cancelled

LOOPBACK = AddressRules.parse(["127.0.0.0/8"])
HEADERS = {"webhook-id": "x"}
PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:93.184.215.14", True),
        *((address, False) for address in ("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1")),
        *((address, False) for address in ("169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255")),
        *((address, False) for address in ("224.0.0.1", "239.255.255.250", "240.0.0.1", "192.0.2.1", "198.18.0.1")),
        *(
            (address, False)
            for address in ("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1")
        ),
        *((address, False) for address in ("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254")),
        *((address, False) for address in ("64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::1", "2001:0:1::1")),
    ],
)
def test_an_address_is_public_or_refused(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        *((f"https://{host}/x", "unusable-webhook") for host in ("localhost", "127.0.0.1", "127.1", "2130706433")),
        *((f"https://{host}/x", "unusable-webhook") for host in ("0x7f.0.0.1", "017700000001", "10.1.2.3", "0")),
        *((f"https://{host}/x", "unusable-webhook") for host in ("[::1]", "[::ffff:127.0.0.1]", "[fe80::1]")),
        ("https://169.254.169.254/latest/meta-data/", "unusable-webhook"),
        (f"http://{PUBLIC}/", "unusable-webhook"),
        ("https://no-such-host.invalid/", "unusable-webhook"),
        ("ftp://93.184.215.14/", "invalid-request"),
        ("file:///etc/passwd", "invalid-request"),
        ("https://user:hunter2@93.184.215.14/", "invalid-request"),
        ("https://93.184.215.14/#part", "invalid-request"),
        ("https://93.184.215.14/" + "x" * 2048, "invalid-request"),
        ("hooks", "invalid-request"),
    ],
)
async def test_a_url_that_nothing_is_sent_to_is_refused_before_anything_is_queued(
    strict_service: Service, url: str, problem: str
) -> None:
    async with strict_service.client() as client:
        await register_ready_model(strict_service, client)
        body = {**MINIMAL_REQUEST, "webhook": {"url": url, "secret": SECRET}}
        refused = await client.post("/v1/jobs", json=body)
        assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (422, problem)
        assert refused.json()["errors"][0]["pointer"].startswith("/webhook")
        assert "hunter2" not in refused.text
        assert (await client.get("/v1/jobs")).json()["data"] == []


@pytest.mark.parametrize(
    "webhook",
    [
        {"secret": "hunter2hunter2hunter2hunter2"},
        {"secret": "whsec_hunter2hunter2!"},
        {"secret": "whsec_aHVudGVyMg=="},
        {"secret": "whsec_" + "aHVudGVyMg" * 12},
        {"secret": None},
        {},
        {"secret": SECRET, "hunter2": 1},
    ],
)
async def test_a_secret_that_is_no_key_is_refused_and_not_repeated(
    service: Service, client: httpx.AsyncClient, webhook: dict[str, Any]
) -> None:
    await register_ready_model(service, client)
    body = {**MINIMAL_REQUEST, "webhook": {"url": f"https://{PUBLIC}/", **webhook}}
    refused = await client.post("/v1/jobs", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"].startswith("/webhook/")) == (422, True)
    assert (webhook.get("secret") or "hunter2hunter2") not in refused.text


class Names:
    """Answers of `getaddrinfo` for some names, one after the other; the last one stays. All other names are real."""

    def __init__(self, **answers: list[str]) -> None:
        self.answers, self.asked = answers, list[str]()
        self._real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        name = str(host).partition(".")[0]
        if name not in self.answers:
            return self._real(host, port, *arguments, **more)
        self.asked.append(name)
        answers = self.answers[name]
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return self._real(address, port, *arguments, **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    answers = Names()
    monkeypatch.setattr(socket, "getaddrinfo", answers)
    return answers


async def test_a_name_that_turns_private_after_the_submission_is_refused_at_the_delivery(
    strict_service: Service, receiver: Receiver, names: Names
) -> None:
    """DNS rebinding: the receiver listens on the private address, and nothing may arrive there."""
    names.answers["rebound"] = [PUBLIC, "127.0.0.1"]
    async with strict_service.client() as client:
        await register_ready_model(strict_service, client)
        url = receiver.url("failing/0/rebound", scheme="https", host="rebound.test")
        delivery = await attempted(client, await cancelled(client, url))
    assert (delivery["status"], delivery["attempts"][0]["error"]) == ("pending", "refused_address")
    assert receiver.at("failing/0/rebound") == []
    assert len(names.asked) >= 2


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(receiver: Receiver, names: Names) -> None:
    """A name that changes between the check and the connection changes nothing: it is resolved once."""
    names.answers["pinned"] = ["127.0.0.1", "127.0.0.99"]
    url = receiver.url("status/204", host="pinned.test")
    before = len(receiver.at("status/204"))
    async with open_client() as client:
        body, headers = b"{}", sign(SECRET, "delivery-pinned", int(datetime.datetime.now().timestamp()), b"{}")
        assert await post(client, LOOPBACK, url, body, headers) == (204, None)
    assert names.asked == ["pinned"]
    (*_, line) = await receiver.wait("status/204", before + 1)
    assert line["headers"]["host"] == f"pinned.test:{receiver.port}"


async def test_one_private_address_among_several_is_enough_to_refuse(names: Names, monkeypatch: Any) -> None:
    def answers(host: str, port: int, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (PUBLIC, "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    async with open_client() as client:
        assert await post(client, AddressRules.parse([]), "https://both.test/", b"", HEADERS) == (
            None,
            "refused_address",
        )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("status/200", (200, None)),
        ("status/404", (404, "status")),
        ("status/503", (503, "status")),
        ("redirect", (307, "redirect")),
        ("endless", (200, None)),
        ("headers", (None, "protocol")),
        ("garbage", (None, "protocol")),
        ("nothing", (None, "protocol")),
        ("slow/1", (None, "timeout")),
        ("dripping", (None, "timeout")),
    ],
)
async def test_every_answer_ends_the_attempt_in_bounded_time_and_has_a_name(
    receiver: Receiver, path: str, expected: tuple[int | None, str | None]
) -> None:
    followed = len(receiver.at("status/200"))
    headers = sign(SECRET, "delivery-1", int(datetime.datetime.now().timestamp()), b"{}")
    async with open_client() as client:
        assert await post(client, LOOPBACK, receiver.url(path), b"{}", headers, seconds=2.0) == expected
    if path == "redirect":
        assert len(receiver.at("status/200")) == followed


async def test_a_port_without_a_listener_is_named(receiver: Receiver) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with open_client() as client:
        assert await post(client, LOOPBACK, f"http://127.0.0.1:{port}/", b"", HEADERS) == (None, "connection")
        assert await post(client, LOOPBACK, "https://no-such-host.invalid/", b"", HEADERS) == (None, "unresolvable")
        assert await post(client, LOOPBACK, receiver.url("x", scheme="https"), b"", HEADERS) == (None, "tls")
        assert await post(client, AddressRules.parse([]), f"http://{PUBLIC}/", b"", HEADERS) == (None, "insecure")


async def test_the_second_address_is_tried_where_the_first_does_not_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(host: str, port: int, *_: Any, **__: Any) -> Any:
        found = ("127.0.0.9", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    headers = sign(SECRET, "delivery-2", int(datetime.datetime.now().timestamp()), b"{}")
    async with open_client() as client:
        assert await post(client, LOOPBACK, receiver.url("status/200", host="two.test"), b"{}", headers) == (200, None)


async def test_tls_checks_the_certificate_against_the_urls_host(
    tmp_path: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path, "hooks.test")
    names.answers |= {"hooks": ["127.0.0.1"], "other": ["127.0.0.1"]}
    headers = sign(SECRET, "delivery-3", int(datetime.datetime.now().timestamp()), b"{}")
    with running_receiver(certificate=certificate) as receiver:
        url, other = (receiver.url("status/200", scheme="https", host=host) for host in ("hooks.test", "other.test"))
        async with open_client() as client:
            assert await post(client, LOOPBACK, url, b"{}", headers) == (None, "tls")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with open_client() as client:
            assert await post(client, LOOPBACK, url, b"{}", headers) == (200, None)
            assert await post(client, LOOPBACK, other, b"{}", headers) == (None, "tls")
        assert len(receiver.at("status/200")) == 1


async def test_the_operator_allows_names_and_networks(names: Names) -> None:
    names.answers |= {"hooks": ["10.1.2.3"], "cloud": ["10.1.2.3"]}
    rules = AddressRules.parse(["Hooks.Internal.", "10.1.0.0/16", "fd00::/8"])
    assert await rules.resolve(httpx.URL("http://hooks.internal/")) == [ip_address("10.1.2.3")]
    assert await rules.resolve(httpx.URL("http://cloud.internal:8080/")) == [ip_address("10.1.2.3")]
    assert await rules.resolve(httpx.URL("http://[fd00::1]/")) == [ip_address("fd00::1")]
    assert await rules.resolve(httpx.URL(f"https://{PUBLIC}/")) == [ip_address(PUBLIC)]


def test_a_network_that_is_none_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="webhook_allow"):
        make_settings(tmp_path, "postgresql+asyncpg://", "redis://", webhook_allow="10.0.0.0/33")
    settings: Settings = make_settings(tmp_path, "x", "x", webhook_allow="hooks.internal, 10.0.0.0/8,")
    assert settings.webhook_allow == ["hooks.internal", "10.0.0.0/8"]


def test_a_sealed_secret_opens_for_its_job_under_its_key_alone() -> None:
    key = bytes(32)
    sealed = seal_secret(SECRET, key, "job-1")
    assert open_secret(sealed, key, "job-1") == SECRET
    assert open_secret(sealed, key, "job-2") is None
    assert open_secret(sealed, bytes([1]) * 32, "job-1") is None
    assert sealed != seal_secret(SECRET, key, "job-1")


def _certificate(folder: Path, host: str) -> Path:
    """Writes a certificate that signs itself for the host, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path
