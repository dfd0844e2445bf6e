"""What a ``.sigmf-meta`` says of its recording; what it leaves out, a recording sheet may state."""

from datetime import datetime
from typing import Any, NamedTuple, cast, get_args

from heimdall_core.domain.manifest import IqFormat
from heimdall_core.recordings.fields import (
    ALTITUDE_RANGE_M,
    FREQUENCY_RANGE_HZ,
    LEVEL_RANGE_DB,
    SAMPLE_RATE_RANGE_HZ,
    Json,
    check_position,
    finite,
    number_at,
    object_at,
    optional_number_at,
    optional_text_at,
    optional_time_at,
    parse_object,
    text_at,
    told,
)
from heimdall_core.recordings.files import Bytes
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import Source

MAX_ERROR_M = 2.1e7
"""No error is larger than half the way around the Earth."""

NO_SOURCE_HINT = (
    "Say which transmitter it was: list the recordings in a .sigmf-collection that states heimdall:source, "
    "or state heimdall:source in the metadata of each, or list them in a recordings.csv beside them."
)


class Facts(NamedTuple):
    """Who recorded when and how; None: not stated."""

    receiver: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    started_at: datetime | None = None
    sample_rate_hz: float | None = None
    center_frequency_hz: float | None = None
    noise_floor_dbfs: float | None = None


class Statement(NamedTuple):
    """All that a ``.sigmf-meta`` says."""

    facts: Facts
    format: IqFormat
    sha512: object
    """Of the samples, as it stands there, unchecked."""
    session: str | None
    source: Source | None


def parse_statement(metadata: Bytes) -> Statement:
    """What is stated, checked.

    Raises:
        Refusal: the first thing that is wrong, by its code; what is absent is not wrong.
    """
    document = parse_object(metadata)
    about = object_at(document, "global")
    capture = _only_capture(document)
    return Statement(
        facts=_facts(about, capture),
        format=_format(about, capture),
        sha512=about.get("core:sha512"),
        session=optional_text_at(about, "heimdall:session"),
        source=None if about.get("heimdall:source") is None else source_at(about),
    )


def source_at(parent: Json) -> Source:
    """The transmitter under ``heimdall:source``.

    Raises:
        Refusal: ``no_source``, ``bad_position`` or ``bad_metadata``.
    """
    stated = object_at(parent, "heimdall:source", code="no_source", hint=NO_SOURCE_HINT)
    latitude = number_at(stated, "latitude", code="bad_position")
    longitude = number_at(stated, "longitude", code="bad_position")
    check_position(latitude, longitude)
    return Source(
        name=text_at(stated, "name", code="no_source"),
        frequency_hz=number_at(stated, "frequency_hz", within=FREQUENCY_RANGE_HZ),
        latitude=latitude,
        longitude=longitude,
        error_margin_m=optional_number_at(stated, "error_margin_m", within=(0.0, MAX_ERROR_M)),
        power_dbm=optional_number_at(stated, "power_dbm", within=LEVEL_RANGE_DB),
    )


def _facts(about: Json, capture: Json) -> Facts:
    latitude, longitude, altitude_m = _position(capture, about)
    return Facts(
        receiver=optional_text_at(about, "heimdall:receiver", code="no_receiver"),
        latitude=latitude,
        longitude=longitude,
        altitude_m=altitude_m,
        started_at=optional_time_at(capture, "core:datetime"),
        sample_rate_hz=optional_number_at(about, "core:sample_rate", within=SAMPLE_RATE_RANGE_HZ),
        center_frequency_hz=optional_number_at(capture, "core:frequency", within=FREQUENCY_RANGE_HZ),
        noise_floor_dbfs=optional_number_at(about, "heimdall:noise_floor_dbfs", within=LEVEL_RANGE_DB),
    )


def _only_capture(document: Json) -> Json:
    captures = document.get("captures")
    if not isinstance(captures, list) or not captures or not all(isinstance(c, dict) for c in captures):
        raise Refusal("bad_metadata", "has no capture", hint="State one capture that starts at sample 0.")
    if len(captures) > 1 or captures[0].get("core:sample_start") != 0:
        raise Refusal(
            "several_captures",
            f"has {len(captures)} captures; one that starts at sample 0 can be read",
            hint="Store each capture as a recording of its own.",
        )
    return cast("Json", captures[0])


def _format(about: Json, capture: Json) -> IqFormat:
    datatype = about.get("core:datatype")
    if datatype not in get_args(IqFormat):
        raise Refusal(
            "bad_datatype",
            f"datatype {told(datatype)} cannot be read",
            hint=f"Convert it to one of {', '.join(get_args(IqFormat))}.",
        )
    if about.get("core:num_channels", 1) != 1:
        raise Refusal("bad_datatype", "has several interleaved channels", hint="Store one file per receiver.")
    if capture.get("core:header_bytes") or about.get("core:header_bytes") or about.get("core:trailing_bytes"):
        raise Refusal(
            "bad_datatype",
            "has a header or trailer around its samples",
            hint="Cut core:header_bytes and core:trailing_bytes off the .sigmf-data.",
        )
    return cast("IqFormat", datatype)


def _position(capture: Json, about: Json) -> tuple[float | None, float | None, float | None]:
    """Latitude, longitude, altitude of the capture, else of the whole recording, as SigMF recommends."""
    scope = capture if "core:geolocation" in capture else about
    if scope.get("core:geolocation") is None:
        return None, None, None
    point = object_at(scope, "core:geolocation", code="no_geolocation", hint=_POINT_HINT)
    values: Any = point.get("coordinates")
    if point.get("type") != "Point" or not isinstance(values, list) or len(values) not in (2, 3):
        problem = "core:geolocation is not a GeoJSON Point of 2 or 3 coordinates"
        raise Refusal("no_geolocation", problem, hint=_POINT_HINT)
    longitude, latitude, *rest = (finite(v, "a coordinate", code="bad_position") for v in values)
    check_position(latitude, longitude)
    if rest and not ALTITUDE_RANGE_M[0] <= rest[0] <= ALTITUDE_RANGE_M[1]:
        hint = f"Write metres, {ALTITUDE_RANGE_M[0]:g} to {ALTITUDE_RANGE_M[1]:g}."
        raise Refusal("bad_position", f"altitude {rest[0]:g} m is no place of a fixed receiver", hint=hint)
    return latitude, longitude, rest[0] if rest else None


_POINT_HINT = "Give captures[0] a GeoJSON Point: longitude, latitude, altitude."
