"""What is to be located need not say where it is."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from heimdall_core.cli.predict_commands import read_archive
from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.reading import InputFile, RefusedFile, read_sessions
from heimdall_core.recordings.session import UNKNOWN_SOURCE as UNKNOWN
from heimdall_core.recordings.session import RecordedSession
from heimdall_core.simulation.world_a import simulate_sessions


def members() -> dict[str, bytes]:
    """The files of an archive, by their last name."""
    packed = pack_session(next(iter(simulate_sessions(1, 3))))
    with tarfile.open(fileobj=io.BytesIO(packed.data)) as archive:
        return {
            member.name.rpartition("/")[2]: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        }


def read(files: dict[str, bytes], **options: Any) -> list[Any]:
    inputs = [InputFile(name=name, read=lambda data=data: data) for name, data in files.items()]
    return list(read_sessions(inputs, **options))


def test_a_collection_without_a_source_is_read_where_the_source_may_be_unknown() -> None:
    files = members()
    collection = json.loads(files["session.sigmf-collection"])
    del collection["collection"]["heimdall:source"]
    files["session.sigmf-collection"] = json.dumps(collection).encode()
    (refused,) = (o for o in read(files) if isinstance(o, RefusedFile))
    assert refused.code == "no_source"
    (session,) = read(files, unknown=UNKNOWN)
    assert isinstance(session, RecordedSession)
    assert session.source is UNKNOWN
    assert len(session.recordings) > 1


def test_loose_recordings_without_a_source_are_one_session() -> None:
    files = {n: d for n, d in members().items() if not n.endswith("collection")}
    assert {o.code for o in read(files)} == {"no_source"}
    (session,) = read(files, unknown=UNKNOWN)
    assert isinstance(session, RecordedSession)
    assert len(session.recordings) == len(files) // 2


def test_a_folder_for_each_receiver_may_use_the_same_names(tmp_path: Path) -> None:
    loose = {n: d for n, d in members().items() if not n.endswith("collection")}
    for name, data in loose.items():
        stem, _, kind = name.rpartition(".sigmf-")
        path = tmp_path / stem / f"rec.sigmf-{kind}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    (session,) = read_archive(tmp_path)
    assert len(session.recordings) == len(loose) // 2
    assert not session.source.is_located
