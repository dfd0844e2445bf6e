"""What is checked of samples, whatever file they came in."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.refusal import Refusal

LARGEST_SAMPLE: Final = 1e10
"""200 dB over full scale: its power, summed over a spectrum, still is a float32."""


def check_duration(num_samples: int, sample_rate_hz: float, settings: FeatureSettings) -> None:
    """Refuses what does not last one segment of the features, ``empty`` or ``truncated``."""
    needed = math.ceil(settings.segment_samples * sample_rate_hz / settings.sample_rate_hz)
    if not num_samples:
        raise Refusal("empty", "has no samples", hint="Copy the recording again from where it was made.")
    if num_samples < needed:
        raise Refusal(
            "truncated",
            f"has {num_samples} samples, fewer than the {needed} of one segment",
            hint="Record at least one segment of the dataset's features.",
        )


def check_finite(samples: NDArray[np.complex64]) -> None:
    """Refuses NaN and infinity, ``not_finite``, and what no power can be taken of, ``out_of_scale``."""
    parts = samples.view(np.float32)
    largest = max(abs(float(parts.min(initial=0.0))), abs(float(parts.max(initial=0.0))))
    if largest <= LARGEST_SAMPLE:
        return
    if math.isfinite(largest):
        hint = "Full scale is 1: divide the samples by the largest that the receiver can give."
        raise Refusal("out_of_scale", f"holds samples up to {largest:g}, full scale being 1", hint=hint)
    good = np.isfinite(samples)
    raise Refusal(
        "not_finite",
        f"sample {int(np.argmin(good))} is NaN or infinite ({int((~good).sum())} in all)",
        hint="Cut the recording before them, or record again; numpy.nan_to_num would invent samples.",
    )
