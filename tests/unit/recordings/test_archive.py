import hashlib
import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sigmf.archivereader import SigMFArchiveReader
from sigmf.sigmffile import SigMFCollection

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.iq import decode
from heimdall_core.recordings.reading import InputFile, read_sessions
from heimdall_core.recordings.sample_checks import LARGEST_SAMPLE
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source

SHORT = FeatureSettings(n_fft=4, hop=1, num_frames=1)
FLOATS = st.floats(-LARGEST_SAMPLE, LARGEST_SAMPLE, width=32)


def test_a_session_without_recordings_cannot_be_packed(make_session):
    with pytest.raises(ValueError, match="needs recordings"):
        pack_session(make_session(0))


def test_two_recordings_of_one_receiver_cannot_be_packed(make_session):
    session = make_session(1)
    with pytest.raises(ValueError, match="different receivers"):
        pack_session(replace(session, recordings=session.recordings * 2))


def test_equal_sessions_give_equal_bytes(make_session):
    assert pack_session(make_session()).data == pack_session(make_session()).data


@given(
    pairs=st.lists(st.tuples(FLOATS, FLOATS), min_size=4, max_size=64),
    names=st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=5, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_ranges_point_at_exactly_the_samples_bit_for_bit(make_session, pairs, names):
    packed_session = _with_receivers(make_session(1), names, np.array(pairs, "<f4").view("<c8")[:, 0])
    packed = pack_session(packed_session)

    assert [m.receiver_name for m in packed.members] == names
    for member, recording in zip(packed.members, packed_session.recordings, strict=True):
        data = packed.data[member.offset : member.offset + member.num_bytes]
        assert decode(data, "cf32_le").tobytes() == recording.samples.tobytes()
        assert hashlib.sha256(data).hexdigest() == member.sha256


@given(pairs=st.lists(st.tuples(FLOATS, FLOATS), min_size=4, max_size=64))
@settings(max_examples=30, deadline=None)
def test_reading_gives_back_what_was_packed(make_session, pairs):
    samples = np.array(pairs, "<f4").view("<c8")[:, 0]
    packed = _with_receivers(make_session(1), ["Torino", "Milano - Baggio"], samples)
    (read,) = _read(pack_session(packed).data)

    assert isinstance(read, RecordedSession)
    assert (read.name, read.source, read.started_at) == (packed.name, packed.source, packed.started_at)
    assert [_facts(r) for r in read.recordings] == [_facts(r) for r in packed.recordings]


@pytest.mark.parametrize("iq_format", ["ci16_le", "cu8"])
def test_integer_formats_stay_what_they_are(make_session, iq_format):
    session = make_session(1)
    session = replace(session, recordings=(replace(session.recordings[0], format=iq_format),))
    once = pack_session(session)
    (read,) = _read(once.data)
    assert isinstance(read, RecordedSession)
    assert read.recordings[0].format == iq_format
    assert pack_session(read) == once


def test_tarfile_agrees_with_every_header(make_session):
    packed = pack_session(make_session(2))
    with tarfile.open(fileobj=io.BytesIO(packed.data), mode="r:") as archive:
        members = archive.getmembers()
    for member in members:
        header = packed.data[member.offset : member.offset + 512]
        assert member.tobuf(tarfile.USTAR_FORMAT) == header, member.name
    assert [m.offset_data for m in members if m.name.endswith("-data")] == [m.offset for m in packed.members]


def test_sigmf_reads_and_validates_the_archive(make_session, tmp_path):
    session = make_session(1)
    path = tmp_path / "one.sigmf"
    path.write_bytes(pack_session(session).data)

    reader = SigMFArchiveReader(path)

    reader.sigmffile.validate()
    assert np.array_equal(reader[:], session.recordings[0].samples)
    assert reader.sigmffile.get_capture_info(0)["core:frequency"] == 145.5e6


def test_sigmf_validates_every_recording_and_the_collection(make_session, tmp_path):
    session = make_session(3)
    with tarfile.open(fileobj=io.BytesIO(pack_session(session).data)) as archive:
        archive.extractall(tmp_path, filter="data")
    for folder in (p for p in tmp_path.iterdir() if p.is_dir()):
        for file in folder.iterdir():
            file.rename(tmp_path / file.name)

    metadata = json.loads((tmp_path / "session.sigmf-collection").read_text())
    collection = SigMFCollection(metadata=metadata, base_path=tmp_path)

    assert len(collection) == 3
    for index, recording in enumerate(session.recordings):
        file = collection.get_SigMFFile(stream_index=index)
        file.validate()
        assert file.get_global_field("heimdall:receiver") == recording.receiver.name
        assert np.array_equal(file[:], recording.samples)


def _with_receivers(session: RecordedSession, names: list[str], samples: np.ndarray) -> RecordedSession:
    (model,) = session.recordings
    recordings = tuple(
        replace(model, receiver=replace(model.receiver, name=name), samples=samples) for name in names
    )
    return replace(session, recordings=recordings)


def _read(data: bytes) -> list[object]:
    return list(read_sessions([InputFile(name="one.sigmf", read=lambda: data)], settings=SHORT))


def _facts(recording: IqRecording) -> tuple[object, ...]:
    return (
        recording.receiver,
        recording.samples.tobytes(),
        recording.sample_rate_hz,
        recording.center_frequency_hz,
        recording.started_at,
        recording.noise_floor_dbfs,
        recording.format,
    )


def test_whole_numbers_pack_like_floats(make_session):
    whole, floats = (
        make_session(1, source=Source(name="b", frequency_hz=f, latitude=lat, longitude=lon, power_dbm=p))
        for f, lat, lon, p in ((145_000_000, 45, 8, 40), (145e6, 45.0, 8.0, 40.0))
    )
    assert pack_session(whole).data == pack_session(floats).data
