"""One request to a webhook: to an address that was checked, without redirects, bounded in time and size."""

import asyncio
import ssl
from importlib.metadata import version

import httpx

from api.webhooks.address_rules import Address, AddressRules, RefusedTarget
from core.schema.webhooks import AttemptError

ATTEMPT_SECONDS = 15.0
"""The longest that an attempt takes, whatever the receiver does."""
CONNECT_SECONDS = 5.0
MAX_ADDRESSES = 4
"""Addresses of a host that are tried one after the other."""
USER_AGENT = f"unlearning-service/{version('unlearning-service')}"


def open_client() -> httpx.AsyncClient:
    """Returns a client for `post`. It trusts the certificates of `SSL_CERT_FILE`, else those of certifi."""
    return httpx.AsyncClient(
        verify=httpx.create_ssl_context(),
        # a proxy would resolve the name once more
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(ATTEMPT_SECONDS, connect=CONNECT_SECONDS),
        # a kept connection is found by its address, and may have been opened under another host's certificate
        limits=httpx.Limits(max_keepalive_connections=0),
    )


async def post(
    client: httpx.AsyncClient,
    rules: AddressRules,
    url: str,
    body: bytes,
    headers: dict[str, str],
    *,
    seconds: float = ATTEMPT_SECONDS,
) -> tuple[int | None, AttemptError | None]:
    """Sends the body and returns the answer's status, None without an answer, and why the attempt failed, or None.

    It takes `seconds` at most. The answer's body is not read.
    """
    try:
        async with asyncio.timeout(seconds):
            status = await _post(client, httpx.URL(url), await rules.resolve(httpx.URL(url)), body, headers)
    except RefusedTarget as error:
        return None, error.error
    except (TimeoutError, httpx.TimeoutException):
        return None, "timeout"
    except httpx.ProtocolError:
        return None, "protocol"
    except httpx.TransportError as error:
        return None, "tls" if _is_of_tls(error) else "connection"
    if 200 <= status < 300:
        return status, None
    return status, "redirect" if 300 <= status < 400 else "gone" if status == 410 else "status"


async def _post(
    client: httpx.AsyncClient, url: httpx.URL, addresses: list[Address], body: bytes, headers: dict[str, str]
) -> int:
    host = {"Host": url.netloc.decode("ascii"), "User-Agent": USER_AGENT, "Content-Type": "application/json"}
    *others, last = addresses[:MAX_ADDRESSES]
    for address in [*others, last]:
        pinned = url.copy_with(host=str(address))
        try:
            async with client.stream(
                "POST", pinned, content=body, headers=host | headers, extensions={"sni_hostname": url.host}
            ) as answer:
                return answer.status_code
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if address == last:
                raise
    raise AssertionError("a host without addresses is refused before")  # pragma: no cover


def _is_of_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
