"""One ``.sigmf-meta`` with its ``.sigmf-data``: checked, and turned into samples."""

import hashlib
import math
from datetime import datetime
from typing import Any, NamedTuple, cast, get_args

import numpy as np

from heimdall_core.domain.manifest import FeatureSettings, IqFormat
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
    parse_object,
    text_at,
    time_at,
)
from heimdall_core.recordings.files import Bytes
from heimdall_core.recordings.iq import BYTES_PER_SAMPLE, Complex, decode
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.session import IqRecording, ReceiverSite


class Header(NamedTuple):
    """What a ``.sigmf-meta`` says."""

    receiver: ReceiverSite
    format: IqFormat
    sample_rate_hz: float
    center_frequency_hz: float
    started_at: datetime
    noise_floor_dbfs: float | None
    sha512: object
    """As it stands there, unchecked."""


def parse_header(metadata: Bytes) -> Header:
    """The checked content of a ``.sigmf-meta``.

    Raises:
        Refusal: the first thing that is wrong, by its code.
    """
    document = parse_object(metadata)
    about = object_at(document, "global")
    capture = _only_capture(document)
    return Header(
        receiver=_receiver(about, capture),
        format=_format(about),
        sample_rate_hz=number_at(about, "core:sample_rate", within=SAMPLE_RATE_RANGE_HZ),
        center_frequency_hz=number_at(capture, "core:frequency", within=FREQUENCY_RANGE_HZ),
        started_at=time_at(capture, "core:datetime"),
        noise_floor_dbfs=optional_number_at(about, "heimdall:noise_floor_dbfs", within=LEVEL_RANGE_DB),
        sha512=about.get("core:sha512"),
    )


def read_samples(header: Header, data: Bytes, *, settings: FeatureSettings) -> IqRecording:
    """The recording whose ``.sigmf-data`` is ``data``, at least one segment long.

    Raises:
        Refusal: ``empty``, ``truncated``, ``sha512_mismatch`` or ``not_finite``.
    """
    return IqRecording(
        receiver=header.receiver,
        samples=_samples(data, header, min_samples=_min_samples(header.sample_rate_hz, settings)),
        sample_rate_hz=header.sample_rate_hz,
        center_frequency_hz=header.center_frequency_hz,
        started_at=header.started_at,
        noise_floor_dbfs=header.noise_floor_dbfs,
        format=header.format,
    )


def _min_samples(sample_rate_hz: float, settings: FeatureSettings) -> int:
    """As many samples as last one segment of the features."""
    return math.ceil(settings.segment_samples * sample_rate_hz / settings.sample_rate_hz)


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


def _format(about: Json) -> IqFormat:
    datatype = about.get("core:datatype")
    if datatype not in get_args(IqFormat):
        raise Refusal(
            "bad_datatype",
            f"datatype {datatype!r} cannot be read",
            hint=f"Convert it to one of {', '.join(get_args(IqFormat))}.",
        )
    if about.get("core:num_channels", 1) != 1:
        raise Refusal("bad_datatype", "has several interleaved channels", hint="Store one file per receiver.")
    if about.get("core:header_bytes") or about.get("core:trailing_bytes"):
        raise Refusal("bad_datatype", "has a header or trailer around its samples")
    return cast("IqFormat", datatype)


def _receiver(about: Json, capture: Json) -> ReceiverSite:
    longitude, latitude, altitude_m = _coordinates(capture, about)
    check_position(latitude, longitude)
    return ReceiverSite(
        name=text_at(about, "heimdall:receiver", code="no_receiver"),
        latitude=latitude,
        longitude=longitude,
        altitude_m=altitude_m,
    )


def _coordinates(capture: Json, about: Json) -> tuple[float, float, float]:
    """Longitude, latitude, altitude of the capture, else of the whole recording, as SigMF recommends."""
    scope = capture if "core:geolocation" in capture else about
    point = object_at(
        scope,
        "core:geolocation",
        code="no_geolocation",
        hint="Give captures[0] a GeoJSON Point: longitude, latitude, altitude.",
    )
    values: Any = point.get("coordinates")
    if point.get("type") != "Point" or not isinstance(values, list) or len(values) not in (2, 3):
        raise Refusal("no_geolocation", "core:geolocation is not a GeoJSON Point of 2 or 3 coordinates")
    longitude, latitude, *rest = (finite(v, "a coordinate", code="bad_position") for v in values)
    altitude_m = rest[0] if rest else 0.0
    if not ALTITUDE_RANGE_M[0] <= altitude_m <= ALTITUDE_RANGE_M[1]:
        raise Refusal("bad_position", f"altitude {altitude_m:g} m is no place of a fixed receiver")
    return longitude, latitude, altitude_m


def _samples(data: Bytes, header: Header, *, min_samples: int) -> Complex:
    if not len(data):
        raise Refusal("empty", "has no samples")
    size = BYTES_PER_SAMPLE[header.format]
    if len(data) % size:
        raise Refusal(
            "truncated", f"{len(data)} bytes are no whole number of {size}-byte {header.format} samples"
        )
    if len(data) // size < min_samples:
        raise Refusal(
            "truncated",
            f"has {len(data) // size} samples, fewer than the {min_samples} of one segment",
            hint="Record at least one segment of the dataset's features.",
        )
    _check_sha512(data, header.sha512)
    samples = decode(data, header.format)
    _check_finite(samples)
    return samples


def _check_sha512(data: Bytes, stated: object) -> None:
    if stated is None:
        return
    if not isinstance(stated, str) or hashlib.sha512(data).hexdigest() != stated.lower():
        raise Refusal(
            "sha512_mismatch",
            "the samples are not those that core:sha512 was made of",
            hint="Copy the recording again from where it was made.",
        )


def _check_finite(samples: Complex) -> None:
    good = np.isfinite(samples)
    if not good.all():
        raise Refusal(
            "not_finite",
            f"sample {int(np.argmin(good))} is NaN or infinite ({int((~good).sum())} in all)",
        )
