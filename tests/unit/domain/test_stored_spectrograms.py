"""A stored spectrogram, and when it is made again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from heimdall_core.domain.errors import DataError, ErrorCategory
from heimdall_core.domain.manifest import FeatureSettings, Manifest, ManifestReceiver
from heimdall_core.domain.spectrograms import (
    FAILURE_SECONDS,
    StoredSpectrogram,
    folder_uri,
    is_outdated,
    read_stored,
    spectrogram_uri,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MANIFEST = Manifest(
    name="session",
    version=1,
    origin_latitude=45.0,
    origin_longitude=8.0,
    receivers=(ManifestReceiver(name="north", latitude=45.0, longitude=8.0, altitude_m=0.0),),
    sessions=(),
)


def uri_of(manifest=MANIFEST, segment=0, now=NOW):
    return spectrogram_uri(manifest, segment, bucket="models", now=now)


def test_a_failure_is_told_for_a_while_and_then_tried_again():
    error = DataError("too short", code="recording_too_short", hint="longer").to_info()
    stored = read_stored(StoredSpectrogram(error=error, failed_at=NOW).to_json())
    assert (stored.error, stored.spectrogram) == (error, None)
    assert stored.error.category is ErrorCategory.DATA
    assert stored.is_final(NOW + timedelta(seconds=FAILURE_SECONDS - 1))
    assert not stored.is_final(NOW + timedelta(seconds=FAILURE_SECONDS + 1))


def test_what_was_made_is_final():
    stored = read_stored(StoredSpectrogram(spectrogram={"segment": 0}).to_json())
    assert stored.spectrogram == {"segment": 0}
    assert stored.is_final(NOW + timedelta(days=30))


def test_other_content_and_other_settings_lie_elsewhere():
    moved = replace(MANIFEST, receivers=(replace(MANIFEST.receivers[0], latitude=45.1),))
    linear = replace(MANIFEST, features=FeatureSettings(scale="linear"))
    assert len({uri_of(), uri_of(moved), uri_of(linear), uri_of(segment=1)}) == 4
    assert uri_of(replace(MANIFEST, name="other", version=7)) == uri_of()
    assert uri_of().startswith(folder_uri("models"))


def test_those_of_this_month_and_the_last_are_kept():
    ages = {days: is_outdated(uri_of(now=NOW - timedelta(days=days)), NOW) for days in (0, 28, 29, 60)}
    assert ages == {0: False, 28: False, 29: True, 60: True}
