"""Flat Rician fading of a path between two fixed aerials."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.simulation.rendering import stream_generator

Float = NDArray[np.float64]
Waves = NDArray[np.complex128]

NUM_WAVES: Final = 8
"""Scattered waves; their amplitudes are Gaussian, so the gain is exactly Rician at every instant."""

_NUM_MOMENT_DRAWS: Final = 2**17
"""The moments in dB are then exact to 0.01 dB."""
_MOMENTS: Final = 6
"""Key of the random stream of the moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RicianFading:
    """A steady wave and scattered ones that turn at Doppler shifts within ``doppler_hz``; mean power 1.

    The shifts are those of waves from eight fixed directions about the circle, so that the scattered part
    decorrelates as in R. H. Clarke's model (Bell Syst. Tech. J. 47, 1968).
    """

    k_db: float
    """Power of the steady wave over that of the scattered ones."""
    doppler_hz: float

    @property
    def shifts_hz(self) -> Float:
        """Doppler shift of each scattered wave, all different, (NUM_WAVES,)."""
        return self.doppler_hz * np.cos(2.0 * np.pi * (np.arange(NUM_WAVES) + 0.25) / NUM_WAVES)

    @property
    def steady_amplitude(self) -> float:
        """Of the wave that does not turn."""
        k = 10.0 ** (self.k_db / 10.0)
        return float(np.sqrt(k / (k + 1.0)))

    def draw_waves(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Waves:
        """Complex amplitudes of the scattered waves, (*shape, NUM_WAVES)."""
        sigma = np.sqrt((1.0 - self.steady_amplitude**2) / NUM_WAVES / 2.0)
        parts = rng.standard_normal((*shape, NUM_WAVES, 2)) * sigma
        return np.asarray(parts[..., 0] + 1j * parts[..., 1])

    def gain(self, waves: Waves, seconds: Float) -> NDArray[np.complex64]:
        """The path's complex gain over time: (R, NUM_WAVES), (n,) -> (R, n)."""
        turning = np.exp(2j * np.pi * self.shifts_hz[:, np.newaxis] * seconds)
        return np.asarray(self.steady_amplitude + waves @ turning, np.complex64)

    def mean_power_db(self, waves: Waves, duration_seconds: float) -> Float:
        """Power averaged over the first ``duration_seconds``, dB: (..., NUM_WAVES) -> (...,)."""
        steady = np.full((*waves.shape[:-1], 1), self.steady_amplitude, complex)
        amplitudes = np.concatenate([steady, waves], axis=-1)
        shifts = np.concatenate([[0.0], self.shifts_hz])
        turns = (shifts - shifts[:, np.newaxis]) * duration_seconds
        products = np.exp(1j * np.pi * turns) * np.sinc(turns)
        power = np.einsum("...j,...j->...", amplitudes.conj(), amplitudes @ products.T).real
        return np.asarray(10.0 * np.log10(power))

    def moments_db(self, duration_seconds: float) -> tuple[float, float]:
        """Mean and variance of ``mean_power_db``, dB and dB squared."""
        return _moments_db(self, duration_seconds)


@lru_cache(maxsize=8)
def _moments_db(fading: RicianFading, duration_seconds: float) -> tuple[float, float]:
    waves = fading.draw_waves(stream_generator(_MOMENTS), (_NUM_MOMENT_DRAWS,))
    power_db = fading.mean_power_db(waves, duration_seconds)
    return float(power_db.mean()), float(power_db.var())
