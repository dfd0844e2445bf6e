"""Why an address cannot be used: each cause in its own words, with its own remedy."""

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from heimdall_core.cli.doctor_findings import TIMEOUT_SECONDS

DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "postgresql": 5432}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a service is, and the setting that says so."""

    host: str
    port: int
    setting: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong with a connection, and what to do."""

    message: str
    remedy: str


def address_of(url: str, setting: str) -> Address | None:
    """The address in a URL, or None where it names no host or a port that is none."""
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.partition("+")[0]
        port = parts.port or DEFAULT_PORTS.get(scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    return Address(host=parts.hostname, port=port, setting=setting)


def unreachable(address: Address) -> Cause | None:
    """Why no TCP connection to the address can be made; None where one can."""
    try:
        socket.create_connection((address.host, address.port), timeout=TIMEOUT_SECONDS).close()
    except OSError as error:
        return cause_of(error, address)
    return None


def cause_of(error: BaseException, address: Address) -> Cause:
    """The cause in an exception or in what led to it."""
    for one in chain(error):
        if isinstance(one, socket.gaierror):
            return Cause(
                f"the name {address.host} is not known (DNS)",
                f"correct the host in {address.setting}, or the name server of this machine",
            )
        if isinstance(one, ssl.SSLError):
            return _tls(one, address)
        if isinstance(one, ConnectionRefusedError) or getattr(one, "errno", None) == errno.ECONNREFUSED:
            return Cause(
                f"{address} refuses the connection: nothing listens there",
                f"start the server, or correct host and port in {address.setting}",
            )
        if isinstance(one, TimeoutError):
            return Cause(
                f"{address} does not answer within {TIMEOUT_SECONDS:.0f} s",
                "look whether the server is up and hangs, and whether a firewall drops the packets",
            )
        if getattr(one, "errno", None) in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return Cause(f"no route to {address.host}", "look at this machine's network, VPN and routes")
    return Cause(
        f"the connection to {address} breaks ({type(error).__name__})",
        f"look whether {address.setting} names the right kind of server and scheme",
    )


def chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, then what led to it, the nearest first."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _tls(error: ssl.SSLError, address: Address) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause(
            f"the TLS certificate of {address} is not trusted: {error.verify_message}",
            "install its CA on this machine (SSL_CERT_FILE), or use the name in the certificate",
        )
    return Cause(
        f"TLS with {address} fails: {error.reason or 'the server speaks no TLS'}",
        f"use the scheme without TLS in {address.setting}, or switch TLS on at the server",
    )


def redact(url: str) -> str:
    """A URL without user, password and query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
