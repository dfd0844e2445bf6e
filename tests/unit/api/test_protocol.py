"""Connections that dawdle: a real server with short bounds."""

import asyncio
import socket
import threading

import pytest
import uvicorn
from structlog.testing import capture_logs

from api import middleware
from api.middleware import BodyLimit, RequestContext
from api.protocol import BoundedProtocol

pytestmark = pytest.mark.enable_socket


class Hurried(BoundedProtocol):
    head_seconds = 0.3
    head_bytes = 4096


async def echo(scope, receive, send):
    """Reads the body and tells its length."""
    if scope["type"] != "http":
        return
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
    await send({"type": "http.response.body", "body": str(length % 10).encode()})


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(middleware, "BODY_BYTES_PER_SECOND", float("inf"))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        RequestContext(Caught(BodyLimit(echo))), http=Hurried, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    with capture_logs():
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


class Caught:
    """Answers what the application would make of the framework's exceptions."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        from starlette.exceptions import HTTPException
        from starlette.responses import PlainTextResponse

        try:
            await self._app(scope, receive, send)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code)(scope, receive, send)


def talk(port, *parts):
    """Sends the parts and reads until the server closes or has answered; the status line."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        return connection.recv(4096).split(b"\r\n")[0]


def test_a_connection_that_says_nothing_is_closed(port):
    assert talk(port) == b"HTTP/1.1 408 Request Timeout"


def test_headers_that_never_end_are_cut_off(port):
    assert talk(port, b"GET / HTTP/1.1\r\nHost: x\r\nX: ") == b"HTTP/1.1 408 Request Timeout"


def test_headers_that_are_too_large_are_cut_off(port):
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"a" * 60) for n in range(200))
    assert talk(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + lines).startswith(b"HTTP/1.1 431")


def test_a_body_that_never_ends_is_cut_off(port):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    assert talk(port, head, b"{").startswith(b"HTTP/1.1 408")


def _read_to_the_end(connection: socket.socket) -> bytes:
    """The rest of the answer before, too."""
    answer = b""
    while chunk := connection.recv(4096):
        answer += chunk
    return answer


def test_a_second_request_that_dawdles_is_cut_off_too(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert b"HTTP/1.1 408" in _read_to_the_end(connection)


def test_a_request_in_time_is_answered(port):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    assert talk(port, head, b"abc") == b"HTTP/1.1 200 OK"
