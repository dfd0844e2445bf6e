"""Where an import has each receiver: fixed, so one that is stated elsewhere later cannot be right."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from heimdall_core.recordings.geodesy import distance_m
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import ReceiverSite

MOVED_M: Final = 100.0
"""A receiver that is stated farther off than this is another one, or its position is wrong."""

_HINT: Final = "Give a receiver that moved a new name; correct a wrong position, and import again."


class _Place(NamedTuple):
    site: ReceiverSite
    file: str


class ReceiverPlaces:
    """The place of each receiver, as the first file stated it."""

    def __init__(self) -> None:
        self._first: dict[str, _Place] = {}

    def check(self, session_name: str, sites: Iterable[ReceiverSite]) -> None:
        """Refuses a session that has a receiver elsewhere, ``receiver_moved``."""
        for site in sites:
            first = self._first.get(site.name)
            if first is None:
                continue
            away_m = _distance_m(first.site, site)
            if away_m > MOVED_M:
                raise Refusal(
                    "receiver_moved",
                    f"session {session_name!r} has receiver {site.name!r} at {_text(site)}, "
                    f"{away_m:.0f} m from {_text(first.site)}, where {first.file} has it",
                    hint=_HINT,
                )

    def keep(self, sites: Sequence[ReceiverSite], *, file: str) -> None:
        """Remembers the receivers that are new."""
        for site in sites:
            self._first.setdefault(site.name, _Place(site, file))


def _distance_m(one: ReceiverSite, other: ReceiverSite) -> float:
    return float(distance_m(one.latitude, one.longitude, other.latitude, other.longitude))


def _text(site: ReceiverSite) -> str:
    return f"{site.latitude:.5f}, {site.longitude:.5f}"
