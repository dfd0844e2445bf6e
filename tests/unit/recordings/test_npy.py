import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_core.recordings.npy import MAX_HEADER_BYTES, parse_npy_header, read_npy
from heimdall_core.recordings.refusal import Refusal

SAMPLES = (np.arange(8) + 1j).astype(np.complex64) / 10


def saved(array: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def with_header(text: bytes, data: bytes = SAMPLES.tobytes(), version: bytes = b"\1\0") -> bytes:
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def header(descr: str = "'<c8'", order: str = "False", shape: str = "(8,)") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()


def refused(data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_npy(data)
    return caught.value


def test_samples_are_a_view_of_the_file():
    data = saved(SAMPLES)
    samples = read_npy(data)
    assert samples.dtype == np.complex64
    assert np.array_equal(samples, SAMPLES)
    assert np.shares_memory(samples, np.frombuffer(data, np.uint8))


def test_the_header_is_read_from_the_beginning_of_a_file():
    data = saved(np.zeros(100_000, np.complex64))
    found = parse_npy_header(memoryview(data)[:MAX_HEADER_BYTES])
    assert (found.offset, found.num_samples, found.num_bytes) == (128, 100_000, 800_000)
    assert found.offset + found.num_bytes == len(data)


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
@pytest.mark.parametrize("blanks", [0, 1, 5])
def test_every_version_is_read_however_its_header_is_padded(version, blanks):
    samples = read_npy(with_header(header() + b" " * blanks + b"\n", version=version))
    assert np.array_equal(samples, SAMPLES)
    assert samples.flags.aligned


BAD_FILES = {
    "no bytes": (b"", "empty", "no bytes"),
    "no samples": (saved(SAMPLES[:0]), "empty", "no samples"),
    "wave file": (b"RIFF" + bytes(100), "not_npy", "does not begin"),
    "zipped": (b"PK\3\4" + bytes(100), "not_npy", "does not begin"),
    "magic only": (b"\x93NUM", "truncated", "middle of its header"),
    "no length": (b"\x93NUMPY\1\0\x76", "truncated", "middle of its header"),
    "half a header": (saved(SAMPLES)[:60], "truncated", "middle of its header"),
    "from the future": (with_header(header(), version=b"\7\0"), "not_npy", "version 7.0"),
    "endless header": (b"\x93NUMPY\2\0\xff\xff\xff\xff" + bytes(99), "not_npy", "claims a header"),
    "an expression": (with_header(b"__import__('os').system('true')"), "not_npy", "cannot be read"),
    "deep": (with_header(b"[" * 9000), "not_npy", "cannot be read"),
    "Python 2": (with_header(header(shape="(8L,)")), "not_npy", "cannot be read"),
    "a list": (with_header(b"[]"), "not_npy", "without descr"),
    "other members": (with_header(b"{'descr': '<c8'}"), "not_npy", "without descr"),
    "objects": (saved(np.array([{}]), allow_pickle=True), "bad_datatype", "objects"),
    "complex128": (saved(SAMPLES.astype(np.complex128)), "bad_datatype", "'<c16'"),
    "big endian": (saved(SAMPLES.astype(">c8")), "bad_datatype", "big-endian"),
    "real": (saved(SAMPLES.real), "bad_datatype", "'<f4'"),
    "records": (saved(np.zeros(3, [("i", "<i2"), ("q", "<i2")])), "bad_datatype", "several fields"),
    "one number": (saved(SAMPLES[0]), "bad_shape", "0 dimensions"),
    "receivers in rows": (saved(SAMPLES.reshape(2, 4)), "bad_shape", "2 dimensions, not one"),
    "Fortran": (saved(np.asfortranarray(SAMPLES.reshape(2, 4))), "bad_shape", "Fortran order"),
    "negative": (with_header(header(shape="(-8,)")), "not_npy", "tuple of counts"),
    "true": (with_header(header(shape="(True,)")), "not_npy", "tuple of counts"),
    "cut": (saved(SAMPLES)[:-3], "truncated", "holds 61 bytes of samples, its header states 64"),
    "large": (with_header(header(shape=f"({'9' * 14},)")), "truncated", "states 79"),
    "absurd": (with_header(header(shape=f"({2**48},)")), "not_npy", "tuple of counts"),
    "unprintable": (with_header(header(shape=f"(0x1{'0' * 5000},)")), "not_npy", "tuple of counts"),
    "two arrays": (saved(SAMPLES) * 2, "trailing_bytes", "192 bytes after"),
    "nan": (saved(np.where(np.arange(8) == 5, np.nan, SAMPLES).astype("c8")), "not_finite", "sample 5"),
    "infinite": (saved(np.array([1, complex(0, np.inf)], np.complex64)), "not_finite", "sample 1"),
}


@pytest.mark.parametrize(("data", "code", "words"), BAD_FILES.values(), ids=BAD_FILES)
def test_what_is_no_recording_is_refused_with_its_own_words(data, code, words):
    refusal = refused(data)
    assert refusal.code == code
    assert words in refusal.message


@pytest.mark.parametrize("array", [SAMPLES.astype(np.complex128), SAMPLES.real, np.array([{}])])
def test_a_wrong_datatype_tells_the_conversion(array):
    assert ".astype(numpy.complex64)" in (refused(saved(array, allow_pickle=True)).hint or "")


@given(data=st.data())
def test_no_damage_escapes_as_another_exception(data):
    spoiled = bytearray(saved(SAMPLES))
    for _ in range(data.draw(st.integers(1, 6))):
        spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    try:
        samples = read_npy(bytes(spoiled[: data.draw(st.integers(0, len(spoiled)))]))
    except Refusal:
        return
    assert samples.shape == SAMPLES.shape


@given(st.binary(max_size=200).map(lambda tail: b"\x93NUMPY\1\0" + tail) | st.binary(max_size=50))
def test_random_bytes_are_refused(data):
    with pytest.raises(Refusal):
        read_npy(data)
