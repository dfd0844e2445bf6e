"""The spectrogram front end: one receiver's IQ segment to its rows of the network's input."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.features import rows
from heimdall_core.features.filterbank import mirrored_bank
from heimdall_core.features.spectrogram import SMALLEST_POWER, power_spectrogram, to_decibels
from heimdall_core.recordings.noise_floor import (
    CELL_FRAMES,
    FLAT_FRACTION,
    FLOOR_QUANTILE,
    guard_bins,
    lowest_tenth,
)

_FEWEST_GUARD_BINS = 8


class ChannelLevels(NamedTuple):
    """What a segment measures of its channel, each (B,)."""

    power_dbfs: Tensor
    """Mean power (signal and noise) inside ``channel_bandwidth_hz``."""
    floor_dbfs: Tensor
    """Mean noise power inside the same bandwidth: stated, or estimated."""
    offset_khz: Tensor
    """Centroid of the power over the floor."""


class SpectrogramFrontEnd(nn.Module):
    """Batched IQ segments and their noise floors to rows 0-124 of the input; rows 125-127 stay zero.

    Row 120, the SNR, is the in-channel power of signal *and* noise over the noise floor: 0 dB is an empty
    channel, and 10 log10(1 + S/N) in general. It is one value for the segment, repeated over its frames.
    All scaling is fixed and global; nothing is normalised by the segment's own level.

    Raises:
        ValueError: the settings leave no guard band outside the channel, or a band would hold no bin.
    """

    window: Tensor
    bank: Tensor
    frequency_khz: Tensor
    channel: Tensor
    guard_bins: Tensor

    def __init__(self, settings: FeatureSettings) -> None:
        super().__init__()
        _check_layout(settings)
        self.settings = settings
        frequency_hz = torch.fft.fftfreq(settings.n_fft, d=1.0 / settings.sample_rate_hz)
        bank = mirrored_bank(settings.num_bands, settings.n_fft, settings.sample_rate_hz, settings.scale)
        channel = (frequency_hz.abs() <= settings.channel_bandwidth_hz / 2).float()
        guard_2M = torch.from_numpy(_guard_bands(settings))
        self.cell_frames = min(CELL_FRAMES, settings.num_frames)
        self.floor_share = lowest_tenth(settings.n_fft, settings.hop, guard_2M.shape[1], self.cell_frames)
        self.register_buffer("window", torch.hann_window(settings.n_fft), persistent=False)
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)
        self.register_buffer("frequency_khz", frequency_hz / 1e3, persistent=False)
        self.register_buffer("channel", channel, persistent=False)
        self.register_buffer("guard_bins", guard_2M, persistent=False)

    def forward(self, iq: Tensor, noise_floor_dbfs: Tensor) -> Tensor:
        """(B, segment_samples) complex64, (B,) dBFS or NaN -> (B, 128, num_frames) float32."""
        return self.read(power_spectrogram(iq, self.window, self.settings.hop), noise_floor_dbfs)

    def read(self, power_BTN: Tensor, noise_floor_dbfs: Tensor) -> Tensor:
        """The rows of segments whose power spectrograms are known already."""
        levels = self.levels(power_BTN, noise_floor_dbfs)
        bands_BFT = self._bands(power_BTN, levels.floor_dbfs)
        side_B8 = self._side(levels)
        return torch.cat([bands_BFT, side_B8[..., None].expand(-1, -1, bands_BFT.shape[-1])], dim=1)

    def levels(self, power_BTN: Tensor, noise_floor_dbfs: Tensor) -> ChannelLevels:
        """Power, noise floor and carrier offset of each segment."""
        mean_BN = power_BTN.mean(1)
        floor_dbfs = self._floor_dbfs(power_BTN, noise_floor_dbfs)
        return ChannelLevels(
            power_dbfs=to_decibels((mean_BN * self.channel).sum(-1)),
            floor_dbfs=floor_dbfs,
            offset_khz=self._offset_khz(mean_BN, floor_dbfs),
        )

    def estimate_floor_dbfs(self, power_BTN: Tensor) -> Tensor:
        """The in-channel noise power (B,), dBFS, from the guard bands on both sides of the channel.

        As ``recordings.noise_floor`` describes: a cell is the mean of one side over a few frames, and the
        lowest tenth of the cells, divided by what it is in noise of mean 1, is a bin's noise.
        """
        side_BT2 = power_BTN[..., self.guard_bins].mean(-1)
        num_places = self.settings.num_frames - self.cell_frames + 1
        windows = [side_BT2[:, first : first + num_places] for first in range(self.cell_frames)]
        cells_BC = torch.stack(windows, dim=-1).mean(-1).flatten(1)
        rank = max(1, round(FLOOR_QUANTILE * 2 * num_places))
        tenth_B = torch.topk(cells_BC, rank, dim=1, largest=False).values[:, -1]
        return to_decibels(tenth_B / self.floor_share * self.channel.sum())

    def _floor_dbfs(self, power_BTN: Tensor, stated_dbfs: Tensor) -> Tensor:
        unstated = torch.isnan(stated_dbfs)
        is_graph = torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()
        if not is_graph and not bool(unstated.any()):
            return stated_dbfs
        return torch.where(unstated, self.estimate_floor_dbfs(power_BTN), stated_dbfs)

    def _offset_khz(self, mean_BN: Tensor, floor_dbfs: Tensor) -> Tensor:
        density_B1 = self._bin_noise(floor_dbfs)[:, None]
        excess_BN = (mean_BN - density_B1).clamp_min(0.0) * self.channel
        total_B = excess_BN.sum(-1).clamp_min(SMALLEST_POWER)
        return (excess_BN * self.frequency_khz).sum(-1) / total_B

    def _bin_noise(self, floor_dbfs: Tensor) -> Tensor:
        return torch.pow(10.0, floor_dbfs / 10.0) / self.channel.sum()

    def _bands(self, power_BTN: Tensor, floor_dbfs: Tensor) -> Tensor:
        band_BFT = (power_BTN @ self.bank.T).transpose(1, 2)
        over_floor_db = to_decibels(band_BFT) - to_decibels(self._bin_noise(floor_dbfs))[:, None, None]
        return (over_floor_db / rows.DB_SCALE).clamp(*rows.BAND_RANGE)

    def _side(self, levels: ChannelLevels) -> Tensor:
        zero_B = torch.zeros_like(levels.power_dbfs)
        columns = [
            (levels.power_dbfs - levels.floor_dbfs) / rows.DB_SCALE,
            levels.power_dbfs / rows.DBFS_SCALE,
            levels.floor_dbfs / rows.DBFS_SCALE,
            zero_B + 1.0,
            levels.offset_khz / rows.OFFSET_SCALE_KHZ,
            zero_B,
            zero_B,
            zero_B,
        ]
        return torch.stack(columns, dim=1)


def _check_layout(settings: FeatureSettings) -> None:
    if settings.num_bands != rows.FIRST_SIDE_ROW:
        raise ValueError(f"num_bands must be {rows.FIRST_SIDE_ROW}: the rows after them are fixed")


def _guard_bands(settings: FeatureSettings) -> NDArray[np.int64]:
    """Bins above and below the channel, (2, M)."""
    bins_2M = guard_bins(
        settings.n_fft,
        settings.sample_rate_hz,
        bandwidth_hz=settings.channel_bandwidth_hz,
        highest_hz=FLAT_FRACTION * settings.sample_rate_hz / 2,
    )
    if bins_2M.size < _FEWEST_GUARD_BINS:
        raise ValueError(
            f"channel_bandwidth_hz={settings.channel_bandwidth_hz:g} leaves too few bins outside the channel "
            f"at {settings.sample_rate_hz:g} Hz to estimate a noise floor"
        )
    return bins_2M
