"""The manifest's digest is its identity."""

import json
from dataclasses import replace

import pytest

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import (
    FeatureSettings,
    Manifest,
    ManifestReceiver,
    ManifestRecording,
    ManifestSession,
)

RECORDING = ManifestRecording(
    receiver="Torino",
    uri="s3://heimdall-raw-iq/recordings/ab/ab.sigmf",
    offset=1024,
    num_bytes=33_792,
    sha256="c" * 64,
    format="cf32_le",
    sample_rate_hz=12_500.0,
    center_frequency_hz=145.5e6,
)
SESSION = ManifestSession(
    id="s1",
    source="beacon",
    latitude=45.1,
    longitude=8.2,
    frequency_hz=145.5e6,
    started_at="2026-01-01T00:00:00Z",
    split="train",
    block="0:0",
    recordings=(RECORDING,),
)
MANIFEST = Manifest(
    name="north",
    version=1,
    origin_latitude=44.95,
    origin_longitude=8.1,
    receivers=(ManifestReceiver(name="Torino", latitude=45.044, longitude=7.672, altitude_m=250.0),),
    sessions=(SESSION,),
)


def test_a_manifest_survives_json() -> None:
    assert Manifest.from_dict(json.loads(MANIFEST.to_json())) == MANIFEST


def test_the_digest_does_not_depend_on_the_name() -> None:
    assert replace(MANIFEST, name="south", version=7).digest() == MANIFEST.digest()


def test_the_digest_depends_on_labels_splits_samples_and_settings() -> None:
    changed = [
        replace(MANIFEST, sessions=(replace(SESSION, latitude=45.2),)),
        replace(MANIFEST, sessions=(replace(SESSION, split="test"),)),
        replace(MANIFEST, sessions=(replace(SESSION, recordings=(replace(RECORDING, sha256="d" * 64),)),)),
        replace(MANIFEST, features=FeatureSettings(scale="linear")),
        replace(MANIFEST, origin_latitude=45.0),
    ]
    assert len({MANIFEST.digest(), *(m.digest() for m in changed)}) == len(changed) + 1


def test_a_manifest_of_another_schema_is_refused() -> None:
    with pytest.raises(DataError, match="schema"):
        Manifest.from_dict({**MANIFEST.to_dict(), "schema": 2})


def test_a_segment_is_a_third_of_a_second() -> None:
    settings = FeatureSettings()
    assert settings.segment_samples == 4224
    assert settings.segment_samples / settings.sample_rate_hz == pytest.approx(0.338, abs=1e-3)
