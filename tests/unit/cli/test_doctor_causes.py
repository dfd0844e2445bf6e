import socket
import ssl
import threading
from collections.abc import Iterator

import httpx
import pytest

from heimdall_core.cli.doctor_causes import Address, address_of, cause_of, redact, unreachable


def address(port: int, host: str = "127.0.0.1") -> Address:
    return Address(host=host, port=port, setting="HEIMDALL_X__URL")


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_server_that_listens_is_reachable(listener):
    assert unreachable(address(listener.getsockname()[1])) is None


def test_a_closed_port_says_that_nothing_listens_and_which_setting_names_it(closed_port):
    cause = unreachable(address(closed_port))
    assert cause is not None
    assert cause.message == f"127.0.0.1:{closed_port} refuses the connection: nothing listens there"
    assert "HEIMDALL_X__URL" in cause.remedy


def test_an_unknown_name_is_told_as_such(monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    cause = unreachable(address(5432, "db.example"))
    assert cause is not None
    assert cause.message == "the name db.example is not known (DNS)"


def test_silence_is_a_timeout(listener):
    with pytest.raises(httpx.ReadTimeout) as caught:
        httpx.get(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.05, trust_env=False)
    assert "does not answer within" in cause_of(caught.value, address(1)).message


def test_tls_towards_a_server_without_it_is_told_as_such(listener):
    def answer() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    serving = threading.Thread(target=answer)
    serving.start()
    with pytest.raises(httpx.ConnectError) as caught:
        httpx.get(f"https://127.0.0.1:{listener.getsockname()[1]}", timeout=5, trust_env=False)
    serving.join()
    cause = cause_of(caught.value, address(1))
    assert cause.message.startswith("TLS with 127.0.0.1:1 fails")
    assert "without TLS" in cause.remedy


def test_a_certificate_that_is_not_trusted_is_told_apart_from_other_tls_failures():
    error = ssl.SSLCertVerificationError("x")
    error.verify_message = "self-signed certificate"
    cause = cause_of(error, address(443))
    assert cause.message == "the TLS certificate of 127.0.0.1:443 is not trusted: self-signed certificate"
    assert "CA" in cause.remedy


def test_what_is_not_known_still_names_its_setting():
    cause = cause_of(ValueError("secret"), address(1))
    assert "secret" not in cause.message
    assert "HEIMDALL_X__URL" in cause.remedy


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@host:6379/0", "redis://host:6379/0"),
        ("https://user:secret@host/x?X-Amz-Signature=secret", "https://host/x"),
        ("http://host:1", "http://host:1"),
    ],
)
def test_a_shown_url_has_no_secret(url, shown):
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://u:p@h/db", "h:5432"),
        ("rediss://h", "h:6379"),
        ("https://[::1]:9", "[::1]:9"),
        ("nonsense", None),
        ("http://h:port", None),
        ("ftp://h", None),
    ],
)
def test_the_address_in_a_url(url, shown):
    found = address_of(url, "X")
    assert (found and str(found)) == shown
