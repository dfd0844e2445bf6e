import os
import socket

import pytest

from heimdall_core.embedded.errors import EmbeddedError, PortTaken
from heimdall_core.embedded.ports import CHOICE, choose, listens_in_group


def choose_api(**changes):
    arguments = {
        "wanted": None,
        "remembered": None,
        "preferred": 8080,
        "taken": set(),
        "probe": lambda _: True,
        **changes,
    }
    return choose("api", **arguments)


def test_a_wanted_port_that_is_in_use_is_refused_naming_the_option():
    with pytest.raises(PortTaken, match="port 9000 for api is in use") as caught:
        choose_api(wanted=9000, probe=lambda _: False)
    assert "--port" in caught.value.hint


def test_the_option_of_another_process_carries_its_name():
    with pytest.raises(PortTaken) as caught:
        choose("s3", wanted=1, remembered=None, preferred=None, taken={1}, probe=lambda _: True)
    assert "--s3-port" in caught.value.hint


def test_no_free_port_is_an_error():
    with pytest.raises(EmbeddedError, match="no free port"):
        choose_api(probe=lambda _: False)


@pytest.mark.parametrize(
    ("changes", "port"),
    [
        ({"wanted": 9000, "remembered": 9001}, 9000),
        ({"remembered": 9001}, 9001),
        ({}, 8080),
        ({"remembered": 9001, "taken": {9001}}, 8080),
    ],
)
def test_the_order_is_wanted_remembered_preferred(changes, port):
    assert choose_api(**changes) == port


def test_without_any_of_them_a_free_port_below_the_ephemeral_range_is_taken():
    port = choose_api(preferred=None, remembered=7, probe=lambda p: p != 7)
    assert port in CHOICE


def test_a_listener_is_known_by_its_group() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listens_in_group(os.getpgrp(), port)
        assert not listens_in_group(1, port), "a stranger's"
    assert not listens_in_group(os.getpgrp(), port), "closed"
