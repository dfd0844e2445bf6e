"""The plane of a dataset, and manifests that depend on content alone."""

import hashlib

import pytest

from heimdall_core.datasets.assembling import SelectedSession, Selection, build_manifest, plane_origin
from heimdall_core.datasets.definition import DatasetDefinition, SplitSpec
from heimdall_core.datasets.duplicates import check_no_leak, find_shared
from heimdall_core.datasets.summary import summarize
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.manifest import ManifestReceiver, ManifestRecording


def receiver(longitude, latitude=45.0, name="a"):
    return ManifestReceiver(name=name, latitude=latitude, longitude=longitude, altitude_m=0.0)


def recording(sha256, **changes):
    described = {
        "receiver": "a",
        "uri": "s3://raw/x",
        "offset": 0,
        "num_bytes": 8,
        "format": "cf32_le",
        "sample_rate_hz": 12_500.0,
        "center_frequency_hz": 145e6,
    }
    return ManifestRecording(sha256=sha256, **(described | changes))


def session(number, *recordings, group=None):
    return SelectedSession(
        id=f"s{number}",
        source=f"beacon-{number}",
        latitude=45.0 + number,
        longitude=7.0,
        frequency_hz=145e6,
        started_at=f"2025-05-01T0{number}:00:00Z",
        group=group,
        recordings=recordings or (recording(f"{number:064x}"),),
        snr_db=(None,) * (len(recordings) or 1),
    )


def test_a_session_without_a_group_cannot_be_split_by_groups():
    selection = Selection(sessions=[session(0)], receivers=(receiver(7.0),))
    definition = DatasetDefinition(name="n", split=SplitSpec(strategy="group"))
    with pytest.raises(InvalidRequest, match="s0 has no group"):
        build_manifest(selection, definition, version=1)


def test_the_origin_is_the_mean_of_the_receivers_on_both_sides_of_the_antimeridian():
    assert plane_origin([receiver(7.0), receiver(8.0, 46.0)]) == (45.5, 7.5)
    assert plane_origin([receiver(179.0), receiver(-178.0)]) == (45.0, -179.5)
    assert plane_origin([receiver(178.0), receiver(-179.0)]) == (45.0, 179.5)


def test_sessions_that_share_a_recording_are_found_and_leak_only_across_splits():
    sessions = [
        session(0, recording("a")),
        session(1, recording("b")),
        session(2, recording("a"), recording("c")),
    ]
    assert find_shared(sessions).sessions == ["s0", "s2"]
    assert find_shared(sessions, ["train", "test", "train"]).across_splits == []
    check_no_leak(sessions, ["train", "test", "train"])
    with pytest.raises(InvalidRequest, match="s0, s2") as refused:
        check_no_leak(sessions, ["train", "train", "test"])
    assert refused.value.stable_code == "duplicate_recordings"


@pytest.mark.parametrize(
    ("iq_format", "silence"), [("cf32_le", b"\0"), ("ci16_le", b"\0"), ("cu8", b"\x7f"), ("cu8", b"\x80")]
)
def test_a_receiver_that_is_off_records_the_same_without_leaking(iq_format, silence):
    num_bytes = 3 * 2**20 + 8
    sha256 = hashlib.sha256(silence * num_bytes).hexdigest()
    off = recording(sha256, num_bytes=num_bytes, format=iq_format)
    assert find_shared([session(0, off), session(1, off)]).sessions == []
    loud = recording(hashlib.sha256(b"\1" * 8).hexdigest(), format=iq_format)
    assert find_shared([session(0, loud), session(1, loud)]).sessions == ["s0", "s1"]


def test_a_recording_repeated_within_one_session_is_no_leak():
    check_no_leak([session(0, recording("a"), recording("a", receiver="b"))], ["train"])


def test_nothing_has_a_summary():
    summary = summarize(Selection(sessions=[], receivers=()))
    assert (summary.sessions, summary.time_range, summary.snr.bins) == (0, None, [])
