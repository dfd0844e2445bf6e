"""SigMF's JSON for our recordings and sessions, with the ``heimdall`` namespace.

Recording (``global``): ``heimdall:receiver`` and, where known, ``heimdall:noise_floor_dbfs``;
its position is ``captures[0]["core:geolocation"]``, GeoJSON order: longitude, latitude, altitude.
Collection: ``heimdall:session``, ``heimdall:started_at`` and ``heimdall:source``.
Numbers are written as floats, whatever they were, so that what was read is packed to the same bytes.
"""

import hashlib
from typing import Final

from heimdall_core.domain.manifest import canonical_json
from heimdall_core.recordings.session import IqRecording, RecordedSession, utc_text

SIGMF_VERSION: Final = "1.2.6"
EXTENSIONS: Final = [{"name": "heimdall", "version": "1.0.0", "optional": True}]


def recording_metadata(recording: IqRecording, data: bytes, *, collection: str) -> bytes:
    """The ``.sigmf-meta`` of a recording stored as ``data``."""
    about = {
        "core:version": SIGMF_VERSION,
        "core:datatype": recording.format,
        "core:sample_rate": float(recording.sample_rate_hz),
        "core:sha512": hashlib.sha512(data).hexdigest(),
        "core:extensions": EXTENSIONS,
        "core:collection": collection,
        "heimdall:receiver": recording.receiver.name,
    }
    if recording.noise_floor_dbfs is not None:
        about["heimdall:noise_floor_dbfs"] = float(recording.noise_floor_dbfs)
    return canonical_json({"global": about, "captures": [_capture(recording)], "annotations": []})


def _capture(recording: IqRecording) -> dict[str, object]:
    site = recording.receiver
    return {
        "core:sample_start": 0,
        "core:frequency": float(recording.center_frequency_hz),
        "core:datetime": utc_text(recording.started_at),
        "core:geolocation": {
            "type": "Point",
            "coordinates": [float(v) for v in (site.longitude, site.latitude, site.altitude_m)],
        },
    }


def collection_metadata(session: RecordedSession, streams: dict[str, bytes]) -> bytes:
    """The ``.sigmf-collection`` of a session; ``streams``: metadata of each recording by base name."""
    source = session.source
    collection = {
        "core:version": SIGMF_VERSION,
        "core:extensions": EXTENSIONS,
        "core:streams": [
            {"name": name, "hash": hashlib.sha512(metadata).hexdigest()} for name, metadata in streams.items()
        ],
        "heimdall:session": session.name,
        "heimdall:started_at": utc_text(session.started_at),
        "heimdall:source": {
            "name": source.name,
            "frequency_hz": float(source.frequency_hz),
            "latitude": float(source.latitude),
            "longitude": float(source.longitude),
            "error_margin_m": _float_or_none(source.error_margin_m),
            "power_dbm": _float_or_none(source.power_dbm),
        },
    }
    return canonical_json({"collection": collection})


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)
