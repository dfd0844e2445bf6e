"""One POST to a webhook: to the addresses that were checked, without redirects, proxies or credentials."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.notifications.retrying import retry_after
from heimdall_core.notifications.targets import Target, resolve
from heimdall_core.settings import WebhookSettings

USER_AGENT = f"Heimdall-Webhooks/{version('heimdall-training')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt."""

    status_code: int | None
    """None: no answer came."""
    error: str | None
    """Why it was not taken, without a word of what the receiver wrote; None: it was."""
    duration_ms: float
    retry_after_seconds: float | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more, ever."""
        return self.status_code == HTTPStatus.GONE


def post(url: str, body: bytes, headers: Mapping[str, str], settings: WebhookSettings) -> Outcome:
    """Sends the message once; whatever goes wrong is an outcome."""
    began = time.monotonic()
    status, wait, error = None, None, None
    try:
        status, wait = _exchange(resolve(url, settings), body, headers, settings.timeout_seconds)
    except InvalidRequest as refused:
        error = refused.message
    except ssl.SSLError as failure:
        error = f"no secure connection: {failure.reason or failure}"
    except TimeoutError:
        error = f"no answer within {settings.timeout_seconds:g} s"
    except (OSError, http.client.HTTPException, UnicodeError) as failure:
        error = f"no connection, or no HTTP: {type(failure).__name__}"
    if status is not None:
        error = _judge(status)
    duration_ms = round((time.monotonic() - began) * 1e3, 1)
    return Outcome(status_code=status, error=error, duration_ms=duration_ms, retry_after_seconds=wait)


def _judge(status: int) -> str | None:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"redirects are not followed: {status}"
    return f"the receiver answered {status}"


def _exchange(
    target: Target, body: bytes, headers: Mapping[str, str], timeout_seconds: float
) -> tuple[int, float | None]:
    """Status and ``Retry-After`` of the answer; its body is not read."""
    connection = _PinnedConnection(target, timeout_seconds)
    try:
        all_headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, **headers}
        connection.request("POST", target.path, body=body, headers=all_headers)
        answer = connection.getresponse()
        return answer.status, retry_after(answer.headers.get("Retry-After"))
    except (OSError, http.client.HTTPException) as error:
        if connection.is_late:
            raise TimeoutError from error
        raise
    finally:
        connection.close()


class _PinnedConnection(http.client.HTTPConnection):
    """A connection to the first checked address that takes it, broken off after a time for all together."""

    def __init__(self, target: Target, timeout_seconds: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout_seconds)
        self.default_port = 443 if target.is_tls else 80  # left out of the Host header
        self.is_late = False
        self._target = target
        self._deadline = time.monotonic() + timeout_seconds
        self._alarm = threading.Timer(timeout_seconds, self._break_off)
        self._alarm.daemon = True
        self._alarm.start()

    def connect(self) -> None:
        """Connects to what was checked, whatever the name means by now."""
        self.sock = self._connect_to_one()
        if self._target.is_tls:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.host)
        if self.is_late:  # the alarm found no socket that it could break off
            raise TimeoutError

    def close(self) -> None:
        """Closes, and calls the alarm off."""
        self._alarm.cancel()
        super().close()

    def _connect_to_one(self) -> socket.socket:
        failure: OSError | None = None
        for address in self._target.addresses:
            try:
                return socket.create_connection((address, self._target.port), timeout=self._remaining())
            except OSError as error:
                failure = error
        raise failure or OSError("no address")

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    def _break_off(self) -> None:
        """A receiver that answers a byte at a time is late too."""
        self.is_late = True
        sock = self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return
