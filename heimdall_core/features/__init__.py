"""IQ samples to the network's input, and the cache that computes them once."""

from heimdall_core.features.cache import FeatureCache
from heimdall_core.features.feature_set import FeatureSet
from heimdall_core.features.frontend import SpectrogramFrontEnd
from heimdall_core.features.spectrogram import compute_mfcc, iq_to_mel_spectrogram

__all__ = ["FeatureCache", "FeatureSet", "SpectrogramFrontEnd", "compute_mfcc", "iq_to_mel_spectrogram"]
