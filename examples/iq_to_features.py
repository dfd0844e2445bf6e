"""IQ in, features out: the front end of a Heimdall model in numpy, without the heimdall package.

python iq_to_features.py model.onnx features.npy NAME=iq.npy [NAME=iq.npy:NOISE_FLOOR_DBFS ...]

Each iq.npy is one receiver's complex samples, full scale 1, at the model's sample rate, tuned to the
channel's centre, all beginning at the same time. A receiver that is not named counts as absent. A noise
floor that is not stated is estimated from the guard bands. See README.md for the rows.
"""
# ruff: noqa: INP001, PLR2004, T201 - a script that prints, of formulas

import json
import sys

import numpy as np
import onnxruntime as ort

WGS84_E2 = 6.69437999014e-3


def mel_edges(num_bands, highest_hz):
    """num_bands + 2 corners of triangles on Slaney's scale: linear to 1 kHz, logarithmic above."""
    step = np.log(6.4) / 27.0
    top = highest_hz / (200 / 3) if highest_hz < 1000 else 15.0 + np.log(highest_hz / 1000) / step
    mel = np.linspace(0.0, top, num_bands + 2)
    return np.where(mel < 15.0, mel * 200 / 3, 1000 * np.exp(step * (mel - 15.0)))


def band_weights(s):
    """(num_bands, n_fft), bins in FFT order; each row a triangle that sums to one, band 0 at -Nyquist."""
    half, nyquist = s["num_bands"] // 2, s["sample_rate_hz"] / 2
    edges = mel_edges(half, nyquist) if s["scale"] == "mel" else np.linspace(0.0, nyquist, half + 2)
    bins = np.arange(s["n_fft"] // 2 + 1) * s["sample_rate_hz"] / s["n_fft"]
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    triangles /= triangles.sum(axis=1, keepdims=True)
    zeros = np.zeros((half, s["n_fft"] // 2))
    below, above = np.hstack([zeros, triangles[:, :0:-1]]), np.hstack([triangles[:, :-1], zeros])
    return np.concatenate([below[::-1], above])


def decibels(power):
    """10 log10, not below -200 dB."""
    return 10 * np.log10(np.maximum(power, 1e-20))


def noise_of_a_bin(power, window, s):
    """(num_frames, n_fft) powers -> the noise's mean, from the lowest tenth of the guard bands' cells."""
    n, bin_hz = s["n_fft"], s["sample_rate_hz"] / s["n_fft"]
    first = int(s["channel_bandwidth_hz"] / 2 / bin_hz) + 3
    bins = np.arange(first, int(0.94 * n / 2) + 1)
    depth, num_bins = min(3, len(power)), len(bins)  # a cell: one side of the channel over three frames
    sides = np.stack([power[:, bins].mean(axis=1), power[:, -bins].mean(axis=1)])
    cells = np.sort(np.lib.stride_tricks.sliding_window_view(sides, depth, axis=1).mean(axis=2), axis=None)
    variance = 0.0  # of a cell of noise of mean 1, times (num_bins depth)^2: neighbours are alike
    for lag in range(depth):
        rest = max(0, n - lag * s["hop"])
        shared = np.append(window[:rest] * window[n - rest :], np.zeros(n - rest))
        alike = np.abs(np.fft.fft(shared)[:num_bins] / np.sum(window**2)) ** 2
        pairs = alike @ ((num_bins - np.arange(num_bins)) * np.where(np.arange(num_bins) > 0, 2, 1))
        variance += (depth - lag) * (2 if lag else 1) * pairs
    k = (num_bins * depth) ** 2 / variance  # independent powers: gamma distributed (Wilson and Hilferty)
    return cells[max(1, round(0.1 * cells.size)) - 1] / (1 - 1 / (9 * k) - 1.28155156554 / (3 * k**0.5)) ** 3


def rows_of_segment(iq, floor_dbfs, s, weights):
    """(segment_samples,) complex -> rows 0-124 of (128, num_frames); floor_dbfs may be None."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(s["n_fft"]) / s["n_fft"])
    frames = np.lib.stride_tricks.sliding_window_view(iq, s["n_fft"])[:: s["hop"]] * window
    power = np.abs(np.fft.fft(frames)) ** 2 / (s["n_fft"] * np.sum(window**2))
    hz = np.fft.fftfreq(s["n_fft"], 1 / s["sample_rate_hz"])
    channel = np.abs(hz) <= s["channel_bandwidth_hz"] / 2
    if floor_dbfs is None:
        floor_dbfs = decibels(noise_of_a_bin(power, window, s) * channel.sum())
    noise = 10 ** (floor_dbfs / 10) / channel.sum()
    mean = power.mean(axis=0)
    level_dbfs = decibels(mean[channel].sum())
    excess = np.maximum(mean - noise, 0.0) * channel
    offset_khz = np.sum(excess * hz / 1e3) / max(excess.sum(), 1e-20)
    bands = (decibels(power @ weights.T) - decibels(noise)).T
    rows = np.zeros((128, len(power)), np.float32)
    rows[:120] = np.clip(bands / 20, -1, 4)
    side = [(level_dbfs - floor_dbfs) / 20, level_dbfs / 50, floor_dbfs / 50, 1.0, offset_khz / 5]
    rows[120:125] = np.array(side)[:, None]
    return rows


def place(receiver, origin):
    """Rows 125-127: east and north of the origin along the ground (100 km), altitude (km)."""

    def earth_km(latitude, longitude):
        normal = 6378.137 / np.sqrt(1 - WGS84_E2 * np.sin(latitude) ** 2)
        flat, up = normal * np.cos(latitude), normal * (1 - WGS84_E2) * np.sin(latitude)
        return np.array([flat * np.cos(longitude), flat * np.sin(longitude), up])

    (lat, lon), here = np.radians(origin), np.radians([receiver["latitude"], receiver["longitude"]])
    chord = earth_km(*here) - earth_km(lat, lon)
    east = chord @ [-np.sin(lon), np.cos(lon), 0]
    north = chord @ [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)]
    length = np.linalg.norm(chord)
    ground = 2 * 6371 * np.arcsin(length / (2 * 6371)) / max(np.hypot(east, north), 1e-9)
    return np.array([east * ground / 100, north * ground / 100, receiver["altitude_m"] / 1e3])


def features_of(recordings, about):
    """{name: (samples, noise floor or None)} -> (segments, receivers, 128, num_frames) float32."""
    s = about["features"]
    weights = band_weights(s)
    length = (s["num_frames"] - 1) * s["hop"] + s["n_fft"]
    num_segments = min(len(samples) for samples, _ in recordings.values()) // length
    features = np.zeros((num_segments, len(about["receivers"]), 128, s["num_frames"]), np.float32)
    for i, receiver in enumerate(about["receivers"]):
        if receiver["name"] in recordings:
            samples, floor_dbfs = recordings[receiver["name"]]
            for n in range(num_segments):
                segment = samples[n * length : (n + 1) * length]
                features[n, i] = rows_of_segment(segment, floor_dbfs, s, weights)
                features[n, i, 125:] = place(receiver, about["origin"])[:, None]
    return features


def main():
    """Reads the model's metadata and the recordings, writes the features."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    model, output, *given = sys.argv[1:]
    properties = ort.InferenceSession(model).get_modelmeta().custom_metadata_map
    about = {key: json.loads(properties[f"heimdall.{key}"]) for key in ("receivers", "origin", "features")}
    recordings = {}
    for name, _, file in (argument.partition("=") for argument in given):
        path, _, floor = file.partition(".npy")
        recordings[name] = np.load(f"{path}.npy"), float(floor[1:]) if floor else None
    if unknown := recordings.keys() - {receiver["name"] for receiver in about["receivers"]}:
        sys.exit(f"the model knows no receiver {', '.join(sorted(unknown))}")
    features = features_of(recordings, about)
    np.save(output, features)
    print(f"{output}: {features.shape}, {len(features)} segments of {len(recordings)} receivers")


if __name__ == "__main__":
    main()
