"""What cannot be predicted is refused by name."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver
from heimdall_core.export.exporter import ONNXExporter
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.networks import LocalizationNet
from heimdall_core.prediction import predict_sessions
from heimdall_core.recordings.session import IqRecording, ReceiverSite, RecordedSession, Source

ORIGIN = (45.0, 179.99)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = LocalizationNet(2, "micro", "full", origin=ORIGIN, plane_scale_km=10.0)
    facts = ModelFacts(
        name="m",
        run_name="r",
        receivers=tuple(
            ManifestReceiver(name=n, latitude=45.0, longitude=179.9, altitude_m=0.0) for n in ("a", "b")
        ),
        origin=ORIGIN,
        plane_scale_km=10.0,
        features=FeatureSettings(),
        dataset="d:1",
        dataset_digest="0",
        backbone="micro",
        covariance="full",
        calibration_scale=1.0,
    )
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    samples = np.zeros((2, 2, 128, 32), np.float32)
    ONNXExporter().export_verified(net, path, facts=facts, features=samples)
    return path


def _session(names: tuple[str, ...] = ("a", "b"), num_samples: int = 9000) -> RecordedSession:
    rng = np.random.default_rng(0)
    began_at = datetime(2026, 1, 1, tzinfo=UTC)
    recordings = [
        IqRecording(
            receiver=ReceiverSite(name=name, latitude=45.0, longitude=179.9),
            samples=(0.01 * rng.standard_normal((num_samples, 2)) @ [1, 1j]).astype(np.complex64),
            sample_rate_hz=12_500.0,
            center_frequency_hz=145e6,
            started_at=began_at,
        )
        for name in names
    ]
    source = Source(name="s", frequency_hz=145e6, latitude=45.0, longitude=180.0)
    return RecordedSession(name="s", source=source, started_at=began_at, recordings=tuple(recordings))


def test_a_session_gives_one_gaussian_whatever_its_length(model: Path) -> None:
    predictions = predict_sessions(model, [_session(), _session(num_samples=30_000)])
    assert len(predictions) == 2
    assert (predictions.sigma_east_m > 0).all()


def test_positions_are_averaged_across_the_antimeridian(model: Path) -> None:
    predictions = predict_sessions(model, [_session(num_samples=60_000)])
    assert min(abs(predictions.longitude[0] - 179.99), abs(predictions.longitude[0] + 180.01)) < 1.0


def test_a_receiver_that_the_model_does_not_know_is_left_out(model: Path) -> None:
    known = predict_sessions(model, [_session(("a",))])
    more = predict_sessions(model, [_session(("a", "stranger"))])
    assert known.latitude[0] == pytest.approx(more.latitude[0])


def test_a_session_of_strangers_is_refused(model: Path) -> None:
    with pytest.raises(DataError) as raised:
        predict_sessions(model, [_session(("stranger",))])
    assert raised.value.stable_code == "unknown_receiver"


def test_a_recording_shorter_than_a_segment_is_refused(model: Path) -> None:
    with pytest.raises(DataError) as raised:
        predict_sessions(model, [_session(num_samples=100)])
    assert raised.value.stable_code == "recording_too_short"


def test_a_model_of_somebody_else_is_refused(tmp_path: Path) -> None:
    net = LocalizationNet(2, "micro", origin=ORIGIN)
    ONNXExporter().export_to_onnx(net, tmp_path / "bare.onnx")
    with pytest.raises(DataError) as raised:
        predict_sessions(tmp_path / "bare.onnx", [_session()])
    assert raised.value.stable_code == "model_metadata"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        predict_sessions(tmp_path / "none.onnx", [replace(_session())])
    assert raised.value.stable_code == "export_invalid"
