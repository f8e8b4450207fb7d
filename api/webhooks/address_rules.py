"""The addresses that messages may be sent to: public ones over TLS, and those that the operator allows.

Names are resolved here, and the sender connects to the very addresses that were checked: a name that is resolved
differently in between (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

import httpx

from core.schema.errors import OwnWords
from core.schema.webhook_target import UnusableWebhook
from core.schema.webhooks import AttemptError

RESOLVE_SECONDS = 5.0

Address = IPv4Address | IPv6Address

# IPv6 addresses that stand for an IPv4 address which a gateway connects to: 6to4, Teredo, NAT64
TRANSLATED = [IPv6Network(network) for network in ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48")]


class RefusedTarget(UnusableWebhook):
    """The URL's host has no address that a message may be sent to."""

    def __init__(self, error: AttemptError, reason: OwnWords) -> None:
        self.error = error
        super().__init__(reason)


@dataclass(frozen=True)
class AddressRules:
    """The operator's exceptions: names and networks that may also be private, and reached by plain HTTP."""

    names: frozenset[str]
    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def parse(cls, allowed: Sequence[str]) -> Self:
        """Reads host names and networks in CIDR notation; a bare address is a network of one."""
        names, networks = set(), []
        for entry in allowed:
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError:
                names.add(entry.lower().rstrip("."))
        return cls(frozenset(names), tuple(networks))

    async def resolve(self, url: httpx.URL) -> list[Address]:
        """Returns the addresses of the URL's host, each of which a message may be sent to. RefusedTarget."""
        host = url.host.lower().rstrip(".")
        addresses = await _resolve(host, url.port or (443 if url.scheme == "https" else 80))
        if host in self.names:
            return addresses
        allowed = [self._is_allowed(address) for address in addresses]
        if not all(is_public(address) or listed for address, listed in zip(addresses, allowed, strict=True)):
            detail = f"{host} has an address that is not public, and that the operator does not allow (WEBHOOK_ALLOW)"
            raise RefusedTarget("refused_address", detail)
        if url.scheme != "https" and not all(allowed):
            raise RefusedTarget("insecure", f"{host} needs https: the operator allows no plain HTTP to it")
        return addresses

    def _is_allowed(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether the address is one of the public internet, of a single host, and no disguise of another address."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in TRANSLATED):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def _resolve(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise RefusedTarget("unresolvable", f"{host} has no address: the name cannot be resolved") from None
    # a scope (`fe80::1%eth0`) names an interface of this machine
    return list(dict.fromkeys(ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found))
