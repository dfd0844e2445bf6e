"""A small network of four receivers with log-distance levels."""

import numpy as np
import pytest

from heimdall_core.domain.manifest import Manifest, ManifestReceiver
from heimdall_core.features.feature_set import FeatureSet
from heimdall_core.recordings.geodesy import to_degrees

ORIGIN = (44.95, 8.1)
RECEIVERS_KM = np.array([[-40.0, -30.0], [40.0, -30.0], [40.0, 30.0], [-40.0, 30.0]])
NUM_SESSIONS = 300


@pytest.fixture(scope="package")
def manifest() -> Manifest:
    latitude, longitude = to_degrees(*RECEIVERS_KM.T, origin=ORIGIN)
    receivers = tuple(
        ManifestReceiver(name=f"R{n}", latitude=float(a), longitude=float(o), altitude_m=0.0)
        for n, (a, o) in enumerate(zip(latitude, longitude, strict=True))
    )
    return Manifest(
        name="square",
        version=1,
        origin_latitude=ORIGIN[0],
        origin_longitude=ORIGIN[1],
        receivers=receivers,
        sessions=(),
    )


@pytest.fixture(scope="package")
def features() -> FeatureSet:
    random = np.random.default_rng(0)
    targets = random.uniform([-50, -40], [50, 40], (NUM_SESSIONS, 2))
    distance = np.linalg.norm(targets[:, None] - RECEIVERS_KM, axis=2)
    snr = 75.0 - 38.0 * np.log10(distance) + random.normal(0, 3, distance.shape)
    snr[random.random(snr.shape) < 0.1] = np.nan
    latitude, longitude = to_degrees(*targets.T, origin=ORIGIN)
    return FeatureSet(
        inputs=np.zeros((NUM_SESSIONS, 4, 128, 32), np.float32),
        first_segment=np.arange(NUM_SESSIONS + 1),
        targets_km=targets.astype(np.float32),
        positions_deg=np.stack([latitude, longitude], axis=1),
        snr_db=snr.astype(np.float32),
        session_ids=tuple(f"s{n}" for n in range(NUM_SESSIONS)),
        splits=("train",) * 150 + ("val",) * 50 + ("test",) * 100,
        was_cached=False,
    )
