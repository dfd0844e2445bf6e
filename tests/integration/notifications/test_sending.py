"""One POST to a receiver that behaves, or does not."""

import datetime as dt
import ipaddress
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from heimdall_core.notifications import sending, targets
from heimdall_core.notifications.sending import post
from heimdall_core.settings import WebhookSettings

LOCAL = {"allowed_networks": ["127.0.0.0/8"], "allow_http": True}


def send(url, **settings):
    return post(url, b'{"a":1}', {"webhook-id": "evt_1"}, WebhookSettings(**(LOCAL | settings)))


def test_a_receiver_inside_is_not_called_unless_settings_allow_it(receive):
    with receive() as receiver:
        outcome = send(receiver.url, allowed_networks=[])
        assert (outcome.is_taken, outcome.status_code) == (False, None)
        assert "no address that may be called" in outcome.error
        assert not receiver.received


def test_nobody_listens():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = send(f"http://127.0.0.1:{unused.getsockname()[1]}/")
    assert (outcome.status_code, outcome.error) == (None, "no connection, or no HTTP: ConnectionRefusedError")


def test_an_answer_that_comes_letter_by_letter_is_late(receive):
    with receive(slow_seconds=0.1) as receiver:
        began = time.monotonic()
        outcome = send(receiver.url, timeout_seconds=0.5)
    assert outcome.error == "no answer within 0.5 s"
    assert time.monotonic() - began < 5


def test_a_handshake_that_outlasts_the_time_is_late_whatever_the_receiver_does_then(monkeypatch, receive):
    class SlowContext:
        """As a TLS context: the socket is another from then on, and the alarm had none to break off."""

        def wrap_socket(self, sock, server_hostname):
            same = socket.socket(fileno=sock.detach())
            same.settimeout(5)
            time.sleep(0.4)
            return same

    monkeypatch.setattr(sending.ssl, "create_default_context", SlowContext)
    with receive(slow_seconds=0.1) as receiver:
        began = time.monotonic()
        outcome = send(receiver.url.replace("http:", "https:"), timeout_seconds=0.2)
    assert outcome.error == "no answer within 0.2 s"
    assert time.monotonic() - began < 2


def test_a_redirect_is_a_failure_and_is_not_followed(receive):
    with receive() as other, receive((302, {"Location": other.url})) as receiver:
        outcome = send(receiver.url)
        assert (outcome.status_code, outcome.error) == (302, "redirects are not followed: 302")
        assert not other.received


def test_what_the_receiver_answers_is_told_and_no_more_of_it(receive):
    with receive((503, {"Retry-After": "7"}), (410, {}), (200, {})) as receiver:
        busy, gone, taken = (send(receiver.url) for _ in range(3))
    assert (busy.error, busy.retry_after_seconds) == ("the receiver answered 503", 7.0)
    assert gone.is_gone
    assert (taken.is_taken, taken.is_gone, taken.error) == (True, False, None)


def test_no_proxy_of_the_environment_is_used(monkeypatch, receive):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with receive() as receiver:
        assert send(receiver.url).is_taken
        ((path, headers, body),) = receiver.received
    assert (path, body) == ("/hook", b'{"a":1}')
    assert headers["Host"] == receiver.url.split("/")[2]
    assert headers["Content-Type"] == "application/json"
    assert headers["webhook-id"] == "evt_1"


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch, receive):
    """The name leads elsewhere by the time of the call: to another address of this machine."""
    with receive() as receiver:
        port, answers = receiver.server_port, ["127.0.0.1", "127.0.0.2"]

        def rebinding(host, port, **_):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

        resolve = targets.resolve
        monkeypatch.setattr(
            sending, "resolve", lambda url, settings: resolve(url, settings, getaddrinfo=rebinding)
        )
        outcome = send(f"http://rebinding.example:{port}/hook", allowed_networks=["127.0.0.1/32"])
        assert outcome.is_taken, outcome.error
        assert answers == ["127.0.0.2"]
        assert receiver.received[0][1]["Host"] == f"rebinding.example:{port}"


def certificate(tmp_path, host):
    """A certificate that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / f"{host}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("vouched_for", ["hooks.example", "other.example"])
def test_the_certificate_must_be_of_the_name_in_the_url(monkeypatch, tmp_path, vouched_for, receive):
    path = certificate(tmp_path, vouched_for)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with receive() as receiver:
        receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
        resolve = targets.resolve
        local = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", receiver.server_port))]
        monkeypatch.setattr(
            sending,
            "resolve",
            lambda url, settings: resolve(url, settings, getaddrinfo=lambda *_, **__: local),
        )
        outcome = send(f"https://hooks.example:{receiver.server_port}/hook")
    if vouched_for == "hooks.example":
        assert outcome.is_taken, outcome.error
    else:
        assert outcome.status_code is None
        assert outcome.error.startswith("no secure connection")
        assert not receiver.received
