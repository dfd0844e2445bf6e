import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from heimdall_core.recordings.iq import decode, encode

BIT_PATTERNS = st.integers(0, 200).flatmap(lambda n: st.binary(min_size=8 * n, max_size=8 * n))


@pytest.mark.parametrize("iq_format", ["cf32_le", "ci16_le", "cu8"])
def test_half_a_sample_is_refused(iq_format):
    with pytest.raises(ValueError, match="no whole number"):
        decode(b"\0", iq_format)


@given(data=BIT_PATTERNS)
def test_cf32_keeps_every_bit_even_of_nan(data):
    assert encode(decode(data, "cf32_le"), "cf32_le") == data


@given(data=BIT_PATTERNS)
@pytest.mark.parametrize("iq_format", ["ci16_le", "cu8"])
def test_integer_formats_come_back_as_they_were(iq_format, data):
    assert encode(decode(data, iq_format), iq_format) == data


@given(hnp.arrays(np.complex64, st.integers(1, 50), elements=st.complex_numbers(max_magnitude=1e6, width=64)))
@pytest.mark.parametrize("iq_format", ["ci16_le", "cu8"])
def test_integer_formats_saturate_at_full_scale(iq_format, samples):
    read = decode(encode(samples, iq_format), iq_format)
    limited = np.clip(samples.real, -1, 1) + 1j * np.clip(samples.imag, -1, 1)
    assert np.abs(read - limited).max() <= 1.5 / 127


def test_cu8_is_centred_between_the_codes():
    assert decode(bytes([0, 255, 127, 128]), "cu8") == pytest.approx([-1 + 1j, (-1 + 1j) / 255])


def test_ci16_full_scale_is_one():
    assert decode(np.array([-32768, 16384], "<i2").tobytes(), "ci16_le") == pytest.approx([-1 + 0.5j])


def peak_bytes(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("iq_format", ["ci16_le", "cu8"])
def test_long_recordings_need_little_more_memory_than_the_two_forms(iq_format):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 255, size=2**22, dtype=np.uint8).tobytes()
    samples = decode(data, iq_format)
    assert peak_bytes(lambda: decode(data, iq_format)) < 1.2 * samples.nbytes
    assert peak_bytes(lambda: encode(samples, iq_format)) < 2 * len(data) + 0.3 * samples.nbytes
    assert encode(samples, iq_format) == data
