import hashlib
import json
from pathlib import Path

import httpx
import pytest

from heimdall_core.cli import uploading
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.cli.uploading import LocalFile, find_files, import_files, send_files
from heimdall_core.domain.errors import InvalidRequest


def test_a_path_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="nowhere does not exist"):
        find_files([tmp_path / "nowhere"])


def test_a_folder_without_recordings_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InvalidRequest, match=r"no recording found \(1 other files\)"):
        find_files([tmp_path])


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_folders_are_searched_and_named_files_taken_as_they_are(tmp_path):
    touch(tmp_path, "a/x.sigmf", "a/b/y.sigmf-meta", "a/b/y.sigmf-data", "a/b/z.sigmf-collection")
    touch(tmp_path, "a/b/s.npy", "a/b/recordings.csv", "c/receivers.csv", "c/transmissions.csv")
    found = find_files([tmp_path / "a", tmp_path / "c/receivers.csv", tmp_path / "c/transmissions.csv"])
    assert [file.name for file in found] == [
        "b/recordings.csv",
        "b/s.npy",
        "b/y.sigmf-data",
        "b/y.sigmf-meta",
        "b/z.sigmf-collection",
        "x.sigmf",
        "receivers.csv",
        "transmissions.csv",
    ]


def test_other_files_of_a_folder_are_ignored_and_counted(tmp_path):
    touch(tmp_path, "x.sigmf", "readme.txt", "b/other.csv", "b/x.sigmf.gz", ".hidden/x.wav")
    ignored: list[int] = []
    found = find_files([tmp_path], on_ignored=ignored.append)
    assert [file.name for file in found] == ["x.sigmf"]
    assert ignored == [4]


def test_nothing_is_told_where_nothing_is_ignored(tmp_path):
    touch(tmp_path, "x.sigmf")
    ignored: list[int] = []
    find_files([tmp_path], on_ignored=ignored.append)
    assert ignored == []


@pytest.mark.parametrize("name", ["x.wav", "table.csv", "x", "RECORDINGS.csv"])
def test_a_named_file_that_is_no_recording_is_refused_with_what_is_understood(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(InvalidRequest, match="no recording that can be imported") as refused:
        find_files([tmp_path / name])
    for known in (".sigmf-meta", ".npy", "recordings.csv", "transmissions.csv"):
        assert known in (refused.value.hint or "")


@pytest.mark.parametrize("name", ["x.sigmf.gz", "x.sigmf.xz", "x.ZIP"])
def test_a_compressed_file_is_refused_with_the_hint_to_unpack(tmp_path, name):
    touch(tmp_path, name)
    with pytest.raises(InvalidRequest, match="is compressed") as refused:
        find_files([tmp_path / name])
    assert "unpack it first" in (refused.value.hint or "")


class Service:
    """The API and its object store; the store fails as often as it is told."""

    def __init__(self, *failures: int):
        self.failures = list(failures)
        self.stored: dict[str, bytes] = {}
        self.bodies: list[dict] = []

    def api(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        if request.url.path == "/v1/uploads":
            targets = [
                {"name": f["name"], "url": f"http://127.0.0.1:2/{f['name']}", "headers": {"x-a": "b"}}
                for f in body["files"]
            ]
            return httpx.Response(201, json={"id": "upl_1", "files": targets})
        assert request.url.path == "/v1/uploads/upl_1:complete"
        return httpx.Response(202, json={"id": "job_1", "stored": sorted(self.stored)})

    def store(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["x-a"] == "b"
        if self.failures:
            status = self.failures.pop()
            if status == 0:
                raise httpx.ReadError("reset", request=request)
            return httpx.Response(status, text="no")
        self.stored[request.url.path[1:]] = request.content
        return httpx.Response(200)

    def import_(self, folder: Path, *names: str):
        for name in names:
            (folder / name).write_text(name)
        files = [LocalFile(name=name, path=folder / name) for name in names]
        done: list[None] = []
        with ApiClient("http://127.0.0.1:1", "k", transport=httpx.MockTransport(self.api)) as client:
            job = import_files(
                client,
                files,
                options={"auto_approve": True},
                on_file=lambda: done.append(None),
                transport=httpx.MockTransport(self.store),
            )
        assert len(done) == len(names)
        return job


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(uploading, "PAUSE_SECONDS", 0.0)


def test_every_file_is_stored_before_the_import_starts(tmp_path):
    service = Service()
    job = service.import_(tmp_path, "a.sigmf", "b.sigmf", "c.sigmf")
    assert job["stored"] == ["a.sigmf", "b.sigmf", "c.sigmf"]
    first = service.bodies[0]["files"][0]
    assert first == {"name": "a.sigmf", "size": 7, "sha256": hashlib.sha256(b"a.sigmf").hexdigest()}
    assert service.bodies[1] == {"options": {"auto_approve": True}}


@pytest.mark.parametrize("failures", [(0, 0), (503, 500), (0, 503)])
def test_a_store_that_recovers_is_tried_again(tmp_path, failures):
    service = Service(*failures)
    service.import_(tmp_path, "a.sigmf")
    assert service.stored == {"a.sigmf": b"a.sigmf"}


@pytest.mark.parametrize("failures", [(0, 0, 0), (503, 503, 503), (403,)])
def test_a_store_that_does_not_is_told_and_nothing_is_completed(tmp_path, failures):
    service = Service(*failures)
    with pytest.raises(ServerUnreachable, match=r"did not take a\.sigmf"):
        service.import_(tmp_path, "a.sigmf")
    assert len(service.bodies) == 1


class Pieces(httpx.BaseTransport):
    """A store that fails once and notes how large the pieces are in which a file comes."""

    def __init__(self):
        self.headers: list[httpx.Headers] = []
        self.sizes: list[list[int]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.headers.append(request.headers)
        self.sizes.append([len(piece) for piece in request.stream])
        return httpx.Response(503 if len(self.sizes) == 1 else 200)


def test_a_file_goes_out_in_pieces_with_its_length_and_whole_again_after_a_failure(tmp_path):
    file = LocalFile(name="a.npy", path=tmp_path / "a.npy")
    file.path.write_bytes(bytes(3_000_000))
    store = Pieces()
    send_files([{"name": "a.npy", "url": "http://127.0.0.1:2/a.npy"}], [file], transport=store)
    assert [sum(sizes) for sizes in store.sizes] == [3_000_000] * 2
    assert max(map(max, store.sizes)) <= 2**20
    for headers in store.headers:
        assert headers["content-length"] == "3000000"
        assert "transfer-encoding" not in headers
