"""Stored bytes <-> complex samples with full scale 1."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import IqFormat

Complex = NDArray[np.complex64]

BYTES_PER_SAMPLE: Final[dict[IqFormat, int]] = {"cf32_le": 8, "ci16_le": 4, "cu8": 2}

_CI16_SCALE = 32_768.0
_CU8_CENTRE = 127.5
"""RTL-SDR convention: no code is zero, full scale is symmetric."""


def decode(data: bytes | memoryview, iq_format: IqFormat) -> Complex:
    """Samples (n,) of interleaved I and Q; ``cf32_le`` is a read-only view of ``data``.

    Raises:
        ValueError: the length is no multiple of one sample.
    """
    if len(data) % BYTES_PER_SAMPLE[iq_format]:
        raise ValueError(f"{len(data)} bytes are no whole number of {iq_format} samples")
    match iq_format:
        case "cf32_le":
            return np.frombuffer(data, "<c8")
        case "ci16_le":
            parts = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(_CI16_SCALE)
        case "cu8":
            codes = np.frombuffer(data, np.uint8).astype(np.float32)
            parts = (codes - np.float32(_CU8_CENTRE)) / np.float32(_CU8_CENTRE)
    return parts.view(np.complex64)


def encode(samples: Complex, iq_format: IqFormat) -> bytes:
    """The inverse of ``decode``; the integer formats saturate at full scale, as a converter does."""
    parts = np.ascontiguousarray(samples, "<c8").view("<f4")
    match iq_format:
        case "cf32_le":
            return parts.tobytes()
        case "ci16_le":
            return np.clip(np.rint(parts * _CI16_SCALE), -32_768, 32_767).astype("<i2").tobytes()
        case "cu8":
            return np.clip(np.rint(parts * _CU8_CENTRE + _CU8_CENTRE), 0, 255).astype(np.uint8).tobytes()
