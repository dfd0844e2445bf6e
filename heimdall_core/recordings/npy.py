"""NumPy's ``.npy`` with complex64 samples, read without trusting its header.

The format: ``numpy.lib.format`` 1.0 to 3.0. Nothing is unpickled, and nothing is allocated for what
the header only claims.
"""

import ast
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heimdall_core.recordings.refusal import Refusal
from heimdall_core.recordings.sample_checks import check_finite

MAX_HEADER_BYTES: Final = 10_000
"""All before the samples; NumPy writes 128, and reads no more than this either."""

_MAGIC: Final = b"\x93NUMPY"
_LENGTHS: Final = {1: "<H", 2: "<I", 3: "<I"}
"""How each major version writes the length of its header."""

_BYTES_PER_SAMPLE: Final = 8
_MAX_COUNT: Final = 2**48
"""Beyond any file; a header may state numbers that Python refuses even to print."""
_COPY_HINT: Final = "Copy the file again from where it was made."
_REMEDY: Final = "Save it with numpy.save(path, samples.astype(numpy.complex64)), one dimension."


class NpyHeader(NamedTuple):
    """Where the samples begin, and how many there should be."""

    offset: int
    """Bytes before the first sample."""
    num_samples: int

    @property
    def num_bytes(self) -> int:
        """Bytes of the samples."""
        return self.num_samples * _BYTES_PER_SAMPLE


def parse_npy_header(data: bytes | memoryview) -> NpyHeader:
    """The checked header; ``data`` may be only the first ``MAX_HEADER_BYTES`` of the file.

    Raises:
        Refusal: ``not_npy``, ``truncated``, ``bad_datatype`` or ``bad_shape``.
    """
    start, offset = _header_range(data)
    stated = _literal(bytes(data[start:offset]))
    _check_dtype(stated["descr"])
    return NpyHeader(offset=offset, num_samples=_num_samples(stated["shape"], stated["fortran_order"]))


def read_npy(data: bytes | memoryview) -> NDArray[np.complex64]:
    """Samples (n,), a read-only view of ``data`` wherever its header keeps them aligned.

    Raises:
        Refusal: as ``parse_npy_header``, or ``truncated``, ``trailing_bytes``, ``not_finite``.
    """
    header = parse_npy_header(data)
    num_bytes = len(data) - header.offset
    if num_bytes < header.num_bytes:
        raise Refusal(
            "truncated",
            f"holds {num_bytes} bytes of samples, its header states {header.num_bytes}",
            hint=_COPY_HINT,
        )
    if num_bytes > header.num_bytes:
        raise Refusal(
            "trailing_bytes",
            f"has {num_bytes - header.num_bytes} bytes after its samples",
            hint="One array per file: save it again with numpy.save.",
        )
    samples = np.frombuffer(data, "<c8", count=header.num_samples, offset=header.offset)
    check_finite(samples)
    return samples if samples.flags.aligned else samples.copy()


def _header_range(data: bytes | memoryview) -> tuple[int, int]:
    """Where the header's literal begins and ends."""
    if not len(data):
        raise Refusal("empty", "has no bytes", hint=_COPY_HINT)
    if bytes(data[: len(_MAGIC)]) != _MAGIC[: len(data)]:
        raise Refusal("not_npy", "does not begin as a .npy file does", hint=_REMEDY)
    if len(data) < len(_MAGIC) + 2:
        raise _cut_header()
    layout = _LENGTHS.get(data[6])
    if layout is None:
        raise Refusal("not_npy", f"is of the unknown format version {data[6]}.{data[7]}", hint=_REMEDY)
    start = len(_MAGIC) + 2 + struct.calcsize(layout)
    if len(data) < start:
        raise _cut_header()
    end = start + int(struct.unpack_from(layout, data, len(_MAGIC) + 2)[0])
    if end > MAX_HEADER_BYTES:
        raise Refusal("not_npy", f"claims a header of {end} bytes", hint=_REMEDY)
    if len(data) < end:
        raise _cut_header()
    return start, end


def _cut_header() -> Refusal:
    return Refusal("truncated", "ends in the middle of its header", hint=_COPY_HINT)


def _literal(header: bytes) -> Mapping[str, Any]:
    try:
        value = ast.literal_eval(header.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise Refusal("not_npy", "has a header that cannot be read", hint=_REMEDY) from error
    if not isinstance(value, dict) or set(value) != {"descr", "fortran_order", "shape"}:
        raise Refusal("not_npy", "has a header without descr, fortran_order and shape", hint=_REMEDY)
    return value


def _check_dtype(descr: object) -> None:
    match descr:
        case "<c8":
            return
        case "|O":
            problem = "holds Python objects, which are not unpickled"
        case ">c8":
            problem = "holds big-endian samples"
        case str():
            problem = f"holds {descr[:20]!r}, not complex64 ('<c8')"
        case _:
            problem = "holds records of several fields, not complex64"
    raise Refusal("bad_datatype", problem, hint=_REMEDY)


def _num_samples(shape: object, fortran_order: object) -> int:
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < _MAX_COUNT for n in shape):
        raise Refusal("not_npy", "has a header whose shape is no tuple of counts", hint=_REMEDY)
    if len(shape) != 1:
        order = " in Fortran order" if fortran_order and len(shape) > 1 else ""
        raise Refusal(
            "bad_shape",
            f"has {len(shape)} dimensions{order}, not one",
            hint="Save one recording per file: numpy.save(path, samples[0]).",
        )
    if not shape[0]:
        raise Refusal("empty", "has no samples", hint="Leave the recording out, or record again.")
    return int(shape[0])
