"""The blocking and the asynchronous client offer the same, and each of their calls is a route of the service."""

import inspect

from heimdall_client import AsyncHeimdallClient, HeimdallClient
from heimdall_client.operations.binding import Answering, Iterating

BLOCKING = HeimdallClient("http://service.test", "hmd_key")
ASYNC = AsyncHeimdallClient("http://service.test", "hmd_key")


def resources(client):
    return {name: value for name, value in vars(client).items() if hasattr(value, "_shell")}


def operations(client):
    """Every call by its name, such as ``jobs.get``."""
    found = {}
    for prefix, owner in {"": client, **resources(client)}.items():
        for kind in type(owner).__mro__:
            for name, value in vars(kind).items():
                if isinstance(value, Answering | Iterating):
                    found[f"{prefix}.{name}".strip(".")] = value
    return found


def test_both_clients_offer_the_same_calls_of_the_same_definition():
    assert operations(BLOCKING) == operations(ASYNC)
    assert len(operations(BLOCKING)) > 60


def test_each_call_is_documented_and_takes_the_same_arguments_on_both():
    for name in operations(BLOCKING):
        owner, _, method = name.rpartition(".")
        pair = [getattr(getattr(client, owner) if owner else client, method) for client in (BLOCKING, ASYNC)]
        first, second = (inspect.signature(call) for call in pair)
        assert first == second, name
        assert all(call.__doc__ for call in pair), name
        assert "self" not in first.parameters, name


def public_methods(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_what_is_not_shared_has_the_same_names():
    assert public_methods(HeimdallClient) == public_methods(AsyncHeimdallClient)
    assert inspect.signature(HeimdallClient).parameters.keys() == (
        inspect.signature(AsyncHeimdallClient).parameters.keys()
    )
    assert resources(BLOCKING).keys() == resources(ASYNC).keys()
