import librosa
import numpy as np
import pytest

from heimdall_core.features.filterbank import mirrored_bank, one_sided_bank


def test_too_many_bands_for_the_resolution_are_refused():
    with pytest.raises(ValueError, match="too narrow"):
        one_sided_bank(128, 64, 12_500.0, "mel")


def test_an_odd_number_of_bands_is_refused():
    with pytest.raises(ValueError, match="even"):
        mirrored_bank(119, 256, 12_500.0, "mel")


def test_the_mel_half_equals_librosas_slaney_bank_with_unit_rows():
    expected = librosa.filters.mel(sr=12_500, n_fft=256, n_mels=60, htk=False, norm=1, dtype=np.float64)
    np.testing.assert_allclose(one_sided_bank(60, 256, 12_500.0, "mel"), expected, atol=1e-12)


@pytest.mark.parametrize("scale", ["mel", "linear"])
def test_the_bank_is_its_own_mirror_image(scale):
    bank = np.fft.fftshift(mirrored_bank(120, 256, 12_500.0, scale), axes=1)
    # Shifted bins run from -128 to 127: leave out -128, which has no mirror image.
    np.testing.assert_allclose(bank[:, 1:], bank[::-1, :0:-1])


@pytest.mark.parametrize("scale", ["mel", "linear"])
def test_every_band_averages_its_bins(scale):
    np.testing.assert_allclose(mirrored_bank(120, 256, 12_500.0, scale).sum(axis=1), 1.0)


def test_bands_ascend_in_frequency():
    frequency = np.fft.fftfreq(256, 1 / 12_500.0)
    centres = mirrored_bank(120, 256, 12_500.0, "mel") @ frequency
    assert np.all(np.diff(centres) > 0)
    assert centres[59] < 0 < centres[60]
