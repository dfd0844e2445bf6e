"""Where a model believes transmitters to be: an ONNX file of ours, and recordings, nothing else.

The features are made by the front end that made those of the training.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.evaluation.metrics import Predictions
from heimdall_core.export.metadata import INPUT_NAME, ModelFacts, read_facts
from heimdall_core.export.parity import open_session
from heimdall_core.features.assembly import assemble, receiver_positions
from heimdall_core.features.fetching import known_noise_floor_dbfs
from heimdall_core.features.frontend import SpectrogramFrontEnd
from heimdall_core.features.resampling import resample
from heimdall_core.recordings.session import IqRecording, RecordedSession

Float32 = NDArray[np.float32]
NUM_MOMENTS = 3
"""Outputs that are position, uncertainty and correlation; those of the components of a mixture follow."""


def predict_sessions(onnx_path: Path, sessions: Sequence[RecordedSession]) -> Predictions:
    """One Gaussian per session: means and covariances averaged over its segments.

    Raises:
        DataError: the file is no model of ours, or a session has no recording by one of its receivers that
            lasts a segment.
    """
    session = open_session(onnx_path)
    facts = read_facts(session.get_modelmeta().custom_metadata_map)
    front_end = SpectrogramFrontEnd(facts.features).eval()
    return to_predictions([session.run(None, {INPUT_NAME: _features(s, facts, front_end)}) for s in sessions])


def to_predictions(outputs: Sequence[Sequence[Float32]]) -> Predictions:
    """One Gaussian per session from the graph's outputs for its segments; of a mixture, its moments."""
    table = np.array([_average(o) for o in outputs], dtype=np.float64).reshape(len(outputs), 5)
    return Predictions.of(table[:, :2], table[:, 2:4], table[:, 4])


def _average(outputs: Sequence[Float32]) -> list[float]:
    """Latitude, longitude, sigma east and north (m), correlation of a session from those of its segments."""
    positions, sigmas, *rest = (output.astype(np.float64) for output in outputs[:NUM_MOMENTS])
    correlation = rest[0][:, 0] if rest else np.zeros(len(sigmas))
    sigma = np.sqrt(np.mean(sigmas**2, axis=0))
    covariance = np.mean(correlation * sigmas[:, 0] * sigmas[:, 1])
    return [*_mean_position(positions), *sigma, float(covariance / np.prod(sigma))]


def _mean_position(positions_S2: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of nearby positions, across the antimeridian too."""
    first = positions_S2[0, 1]
    longitudes = (positions_S2[:, 1] - first + 180.0) % 360.0 - 180.0
    longitude = (first + longitudes.mean() + 180.0) % 360.0 - 180.0
    return float(positions_S2[:, 0].mean()), float(longitude)


def _features(session: RecordedSession, facts: ModelFacts, front_end: SpectrogramFrontEnd) -> Float32:
    """(segments, R, 128, 32): as many segments as the shortest recording fills."""
    places = {receiver.name: place for place, receiver in enumerate(facts.receivers)}
    known = [r for r in session.recordings if r.receiver.name in places]
    if not known:
        raise DataError(
            f"no recording of {session.name!r} is by a receiver that the model knows",
            code="unknown_receiver",
            hint=f"The model knows {', '.join(places)}.",
        )
    segments = [_segments(recording, facts.features) for recording in known]
    num_segments = min(len(s) for s in segments)
    planes = np.concatenate([s[:num_segments] for s in segments])
    floors = [
        known_noise_floor_dbfs(
            r.samples,
            sample_rate_hz=r.sample_rate_hz,
            stated_dbfs=r.noise_floor_dbfs,
            settings=facts.features,
        )
        for r in known
    ]
    with torch.inference_mode():
        rows_M = front_end(
            torch.from_numpy(planes), torch.tensor(np.repeat(floors, num_segments), dtype=torch.float32)
        ).numpy()
    return assemble(
        rows_M,
        np.tile(np.arange(num_segments), len(known)),
        np.repeat([places[r.receiver.name] for r in known], num_segments),
        receiver_positions(facts.receivers, facts.origin),
        num_segments,
    )


def _segments(recording: IqRecording, settings: FeatureSettings) -> NDArray[np.complex64]:
    samples = resample(recording.samples, recording.sample_rate_hz, settings.sample_rate_hz)
    num_segments = len(samples) // settings.segment_samples
    if not num_segments:
        raise DataError(
            f"the recording of {recording.receiver.name} is shorter than a segment of "
            f"{settings.segment_samples / settings.sample_rate_hz:.2f} s",
            code="recording_too_short",
        )
    whole = samples[: num_segments * settings.segment_samples]
    return whole.reshape(num_segments, settings.segment_samples)
