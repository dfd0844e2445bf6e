"""Where webhooks may lead: every way around the guard that is known to us."""

import socket

import pytest

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.notifications.targets import check_url, resolve
from heimdall_core.settings import WebhookSettings

STRICT = WebhookSettings()
PUBLIC = "93.184.215.14"


def names(*addresses):
    """A name service that says this of every name, and counts how often it is asked."""

    def getaddrinfo(host, port, **_):
        getaddrinfo.num_asked += 1
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in a], socket.SOCK_STREAM, 6, "", (a, port)) for a in addresses]

    getaddrinfo.num_asked = 0
    return getaddrinfo


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://0.0.0.0/",
        "https://localhost/",
        "https://api.localhost:8443/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:0a00:0001]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[ff02::1]/",
        "https://[fec0::1]/",
        "https://[3fff::1]/",
        "https://[2001:4860::5efe:10.0.0.1]/",
        "https://[2001:4860::200:5efe:7f00:1]/",
        "https://192.0.0.192/opc/v1/instance/",
        "https://192.88.99.1/",
        "https://168.63.129.16/machine/",
    ],
)
def test_an_address_that_is_not_global_is_refused_however_it_is_written(url):
    with pytest.raises(InvalidRequest, match="no address that may be called") as caught:
        check_url(url, STRICT)
    assert caught.value.problems[0].pointer == "/url"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.org/", "must begin with https://"),
        ("ftp://example.org/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("//example.org/", "must begin with https://"),
        ("https:///hook", "names no host"),
        ("https://user:secret@example.org/", "credentials"),
        ("https://user@example.org/", "credentials"),
        ("https://example.org/#part", "fragment"),
        ("https://example.org:22/", "must name port"),
        ("https://example.org:0/", "must name port"),
        ("https://example.org:99999/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://example.org/a b", "characters"),
        ("https://example.org/\r\nX-Evil: 1", "characters"),
        ("https://example.org\\@127.0.0.1/", "characters"),
        ("https://ⓔxample.org/", "characters"),
        ("https://example.org/" + "a" * 2000, "too long"),
    ],
)
def test_what_is_no_plain_url_is_refused(url, reason):
    with pytest.raises(InvalidRequest, match=reason):
        check_url(url, STRICT)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "::1", "::ffff:127.0.0.1", "fe80::1%eth0", "169.254.169.254", "64:ff9b::a00:1"],
)
def test_a_name_that_leads_inside_is_refused(address):
    with pytest.raises(InvalidRequest):
        resolve("https://innocent.example/", STRICT, getaddrinfo=names(address))


def test_only_the_addresses_that_were_checked_are_given_and_the_name_is_asked_once():
    """A name whose answer changes between the look and the call gains nothing."""
    asked = names("127.0.0.1", PUBLIC, "10.0.0.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    target = resolve("https://rebinding.example:8443/hook?a=1", STRICT, getaddrinfo=asked)
    assert target.addresses == (PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c")
    assert asked.num_asked == 1
    assert (target.host, target.port, target.path, target.is_tls) == (
        "rebinding.example",
        8443,
        "/hook?a=1",
        True,
    )


def test_networks_that_settings_allow_may_be_called_and_no_others():
    settings = WebhookSettings(allowed_networks=["10.0.0.0/8", "::1/128"], allow_http=True)
    check_url("http://10.1.2.3/", settings)
    check_url("http://[::1]:8080/", settings)
    check_url("http://[::ffff:10.1.2.3]/", settings)
    for url in ("http://127.0.0.1/", "http://192.168.0.1/", "http://[::ffff:127.0.0.1]/"):
        with pytest.raises(InvalidRequest):
            check_url(url, settings)
    assert resolve("http://inside.example", settings, getaddrinfo=names("10.9.9.9")).port == 80


def test_a_public_url_is_accepted_without_asking_the_name_service():
    check_url("https://example.org/hooks/heimdall?team=1", STRICT)
    check_url(f"https://{PUBLIC}/", STRICT)
