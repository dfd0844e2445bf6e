"""Where a webhook may lead: a guard against calls into networks that callers cannot reach themselves."""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.settings import WebhookSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[..., Sequence[Any]]
"""As ``socket.getaddrinfo``."""

MAX_URL_CHARS: Final = 2000
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
#: Below are the ports of other protocols: mail, name service, databases of old.
_FIRST_FREE_PORT: Final = 1024
_LAST_PORT: Final = 65_535
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP: Final = {0x0000_5EFE, 0x0200_5EFE}
"""Before the IPv4 address in the lower half of an address (RFC 5214)."""
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20", "fec0::/10")
)
"""What ``is_global`` lets pass, in some version of Python: protocol assignments with a cloud's metadata,
relays, the address at which Azure serves its guests, documentation, and site-local addresses."""
_HINT: Final = "Give a public https URL, such as https://example.org/hooks/heimdall."


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL whose addresses were checked; only these are connected to."""

    host: str
    """For the ``Host`` header and the certificate."""
    port: int
    addresses: tuple[str, ...]
    path: str
    is_tls: bool


def check_url(url: str, settings: WebhookSettings) -> None:
    """Looks at what can be seen without asking the name service.

    Raises:
        InvalidRequest: it is no URL that may be called.
    """
    parts = _split(url, settings)
    host = parts.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        _check_address(ipaddress.ip_address("127.0.0.1"), settings)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return
    for entry in found:
        _check_address(_address(str(entry[4][0])), settings)


def resolve(url: str, settings: WebhookSettings, *, getaddrinfo: Resolver = socket.getaddrinfo) -> Target:
    """Where the URL leads now: the name service is asked once, and what it says is what is connected to.

    Raises:
        InvalidRequest: none of the host's addresses may be called.
        OSError: the name service does not know the host.
    """
    parts = _split(url, settings)
    host, port = parts.hostname or "", _port(parts)
    addresses = [_address(entry[4][0]) for entry in getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    allowed = tuple(dict.fromkeys(str(a) for a in addresses if _is_allowed(a, settings.allowed_networks)))
    if not allowed:
        raise _forbidden()
    path = parts.path or "/"
    return Target(
        host=host,
        port=port,
        addresses=allowed,
        path=f"{path}?{parts.query}" if parts.query else path,
        is_tls=parts.scheme == "https",
    )


def _split(url: str, settings: WebhookSettings) -> SplitResult:
    if len(url) > MAX_URL_CHARS or not url.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in url):
        raise _refused("is too long, or holds characters that a URL writes as %XX")
    try:
        parts = urlsplit(url)
        port = _port(parts)
    except ValueError:
        raise _refused("is not a URL") from None
    schemes = ("https", "http") if settings.allow_http else ("https",)
    if parts.scheme not in schemes:
        raise _refused(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if not parts.hostname:
        raise _refused("names no host")
    if parts.username is not None or parts.password is not None:
        raise _refused("must not hold credentials; the signature says who sends")
    if parts.fragment:
        raise _refused("must not hold a fragment")
    if port not in _DEFAULT_PORTS.values() and not _FIRST_FREE_PORT <= port <= _LAST_PORT:
        raise _refused(f"must name port 80, 443 or one from {_FIRST_FREE_PORT} on")
    return parts


def _port(parts: SplitResult) -> int:
    return _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port


def _address(text: str) -> Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _check_address(address: Address, settings: WebhookSettings) -> None:
    if not _is_allowed(address, settings.allowed_networks):
        raise _forbidden()


def _is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether this address, and any IPv4 address within it, is global or in a network that settings allow."""
    return all(
        _is_global(each) or any(each in network for network in networks) for each in _with_embedded(address)
    )


def _is_global(address: Address) -> bool:
    is_special = address.is_multicast or address.is_reserved or address.is_unspecified
    return address.is_global and not is_special and not any(address in network for network in _NOT_PUBLIC)


def _with_embedded(address: Address) -> tuple[Address, ...]:
    """The address that a packet goes to, and for a gateway's the one behind it."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (_lowest(address),)
    return (address, *_tunnelled(address))


def _tunnelled(address: ipaddress.IPv6Address) -> tuple[ipaddress.IPv4Address, ...]:
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    return (_lowest(address),) if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP else ()


def _lowest(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _refused(reason: str) -> InvalidRequest:
    problem = FieldProblem(pointer="/url", detail=f"the URL {reason}")
    return InvalidRequest(
        f"this URL cannot be called: it {reason}",
        problems=(problem,),
        code="webhook_url_refused",
        hint=_HINT,
    )


def _forbidden() -> InvalidRequest:
    problem = FieldProblem(pointer="/url", detail="the host has no address that may be called")
    return InvalidRequest(
        "this URL cannot be called: its host has no address that may be called",
        problems=(problem,),
        code="webhook_url_refused",
        hint="Only global addresses may be called; HEIMDALL_WEBHOOKS__ALLOWED_NETWORKS names exceptions.",
    )
