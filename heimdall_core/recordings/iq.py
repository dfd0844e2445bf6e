"""Stored bytes <-> complex samples with full scale 1."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import IqFormat

Complex = NDArray[np.complex64]

BYTES_PER_SAMPLE: Final[dict[IqFormat, int]] = {"cf32_le": 8, "ci16_le": 4, "cu8": 2}

_CI16_SCALE = 32_768.0
_CU8_CENTRE = 127.5
"""RTL-SDR convention: no code is zero, full scale is symmetric."""

_BLOCK = 2**18
"""Numbers converted at once, so that what lies between the two forms stays small."""


def decode(data: bytes | memoryview, iq_format: IqFormat) -> Complex:
    """Samples (n,) of interleaved I and Q; ``cf32_le`` is a read-only view of ``data``.

    Raises:
        ValueError: the length is no multiple of one sample.
    """
    if len(data) % BYTES_PER_SAMPLE[iq_format]:
        raise ValueError(f"{len(data)} bytes are no whole number of {iq_format} samples")
    if iq_format == "cf32_le":
        return np.frombuffer(data, "<c8")
    codes = np.frombuffer(data, "<i2" if iq_format == "ci16_le" else np.uint8)
    parts = np.empty(len(codes), np.float32)
    for block in _blocks(len(codes)):
        parts[block] = codes[block]
        if iq_format == "ci16_le":
            parts[block] /= np.float32(_CI16_SCALE)
        else:
            parts[block] -= np.float32(_CU8_CENTRE)
            parts[block] /= np.float32(_CU8_CENTRE)
    return parts.view(np.complex64)


def encode(samples: Complex, iq_format: IqFormat) -> bytes:
    """The inverse of ``decode``; the integer formats saturate at full scale, as a converter does."""
    parts = np.ascontiguousarray(samples, "<c8").view("<f4")
    if iq_format == "cf32_le":
        return parts.tobytes()
    convert = _to_ci16 if iq_format == "ci16_le" else _to_cu8
    return b"".join(convert(parts[block]) for block in _blocks(len(parts)))


def _to_ci16(parts: NDArray[np.float32]) -> bytes:
    codes: NDArray[np.int16] = np.clip(np.rint(parts * _CI16_SCALE), -32_768, 32_767).astype("<i2")
    return codes.tobytes()


def _to_cu8(parts: NDArray[np.float32]) -> bytes:
    codes: NDArray[np.uint8] = np.clip(np.rint(parts * _CU8_CENTRE + _CU8_CENTRE), 0, 255).astype(np.uint8)
    return codes.tobytes()


def _blocks(length: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, length, _BLOCK))
