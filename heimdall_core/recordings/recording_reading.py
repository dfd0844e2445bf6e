"""The samples of one recording: a ``.sigmf-data`` or an ``.npy``, and what is known of it."""

import hashlib
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from heimdall_core.domain.manifest import FeatureSettings, IqFormat
from heimdall_core.recordings import files as file_limits
from heimdall_core.recordings.files import NPY, Bytes
from heimdall_core.recordings.iq import BYTES_PER_SAMPLE, Complex, decode
from heimdall_core.recordings.npy import parse_npy_header, read_npy
from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.sample_checks import check_duration, check_finite
from heimdall_core.recordings.session import IqRecording, ReceiverSite
from heimdall_core.recordings.statement import Facts

T = TypeVar("T")

NPY_FORMAT: Final[IqFormat] = "cf32_le"

_BYTES_IN_MEMORY: Final = BYTES_PER_SAMPLE["cf32_le"]
"""Of a sample, however few it is stored in."""


class Header(NamedTuple):
    """All that must be known of a recording but its samples."""

    receiver: ReceiverSite
    format: IqFormat
    sample_rate_hz: float
    center_frequency_hz: float
    started_at: datetime
    noise_floor_dbfs: float | None
    sha512: object = None
    """Of the samples, as it is stated, unchecked."""


def header_of(facts: Facts, iq_format: IqFormat, sha512: object = None) -> Header:
    """The header of a recording whose ``.sigmf-meta`` stands alone.

    Raises:
        Refusal: ``no_receiver``, ``no_geolocation``, ``bad_time`` or ``bad_metadata``.
    """
    return Header(
        receiver=ReceiverSite(
            name=_stated(facts.receiver, "heimdall:receiver", code="no_receiver"),
            latitude=_stated(facts.latitude, "core:geolocation", code="no_geolocation"),
            longitude=_stated(facts.longitude, "core:geolocation", code="no_geolocation"),
            altitude_m=facts.altitude_m or 0.0,
        ),
        format=iq_format,
        sample_rate_hz=_stated(facts.sample_rate_hz, "core:sample_rate", code="bad_metadata"),
        center_frequency_hz=_stated(facts.center_frequency_hz, "core:frequency", code="bad_metadata"),
        started_at=_stated(facts.started_at, "core:datetime", code="bad_time"),
        noise_floor_dbfs=facts.noise_floor_dbfs,
        sha512=sha512,
    )


def _stated(value: T | None, key: str, *, code: str) -> T:
    if value is None:
        hint = "State it in the metadata, or list the recording in a recordings.csv that does."
        raise Refusal(code, f"has no {key}", hint=hint)
    return value


def read_recording(
    header: Header, name: str, data: Bytes, *, settings: FeatureSettings, num_held: int = 0
) -> IqRecording:
    """The recording whose samples are the file ``name``, at least one segment long.

    ``num_held``: bytes of the samples that the session has already.

    Raises:
        Refusal: ``empty``, ``truncated``, ``too_large``, ``sha512_mismatch``, ``not_finite``, or as
            ``read_npy``; what is too large has not been decoded.
    """
    num_samples = parse_npy_header(data).num_samples if name.endswith(NPY) else _num_raw(data, header)
    check_duration(num_samples, header.sample_rate_hz, settings)
    if num_held + num_samples * _BYTES_IN_MEMORY > file_limits.MAX_ARCHIVE_BYTES:
        raise file_limits.too_large("makes its session, as complex64, larger")
    return IqRecording(
        receiver=header.receiver,
        samples=read_npy(data) if name.endswith(NPY) else _read_raw(data, header),
        sample_rate_hz=header.sample_rate_hz,
        center_frequency_hz=header.center_frequency_hz,
        started_at=header.started_at,
        noise_floor_dbfs=header.noise_floor_dbfs,
        format=header.format,
    )


def _num_raw(data: Bytes, header: Header) -> int:
    size = BYTES_PER_SAMPLE[header.format]
    if len(data) % size:
        raise Refusal(
            "truncated",
            f"{len(data)} bytes are no whole number of {size}-byte {header.format} samples",
            hint="Copy the recording again, or state the datatype that it has.",
        )
    return len(data) // size


def _read_raw(data: Bytes, header: Header) -> Complex:
    _check_sha512(data, header.sha512)
    samples = decode(data, header.format)
    check_finite(samples)
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
