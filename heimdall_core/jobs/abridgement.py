"""A job's wire form without what is long: for lists of many."""

from collections.abc import Collection, Mapping
from typing import Any, Final

_SPEC: Final = frozenset({"kind", "model", "dataset", "source", "resources", "upload_id", "platform"})
_RESULT: Final = frozenset({"model", "metrics", "session_count"})


def abridge(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same members, with neither curves nor attempts, and of spec and result what names and sums up."""
    result = document["result"]
    return {
        **document,
        "spec": _only(document["spec"], _SPEC),
        "metrics": {},
        "attempts": [],
        "result": None if result is None else _only(result, _RESULT),
    }


def _only(members: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name in names}
