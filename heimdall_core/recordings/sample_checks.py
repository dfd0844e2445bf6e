"""What is checked of samples, whatever file they came in."""

import math

import numpy as np
from numpy.typing import NDArray

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.refusal import Refusal


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
    """Refuses NaN and infinity, ``not_finite``."""
    good = np.isfinite(samples)
    if not good.all():
        raise Refusal(
            "not_finite",
            f"sample {int(np.argmin(good))} is NaN or infinite ({int((~good).sum())} in all)",
            hint="Cut the recording before them, or record again; numpy.nan_to_num would invent samples.",
        )
