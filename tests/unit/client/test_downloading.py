"""Whole files or none, from where they broke off, never damaged ones."""

import hashlib

import httpx
import pytest

from heimdall_client import DamagedDownload, NotFound, Unreachable

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
FILE = {"name": "model.onnx", "sha256": SHA256, "bytes": len(DATA)}
INSIDE = FILE | {"content_url": "/v1/jobs/job_1/artifacts/model.onnx"}
OUTSIDE = "http://store.test/models/model.onnx?signature=secret"


class Service:
    """The route of one file; ``breaks`` says after how many bytes each answer breaks."""

    def __init__(self, pieces, *breaks, data=DATA, file=INSIDE, part_status=206):
        self.part_status = part_status
        self.asked, self.requests = [], []
        self._pieces, self._breaks, self._data, self._file = pieces, list(breaks), data, file

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/artifacts"):
            return httpx.Response(200, json={"data": [self._file]})
        if "/versions/" in request.url.path:
            onnx = {"sha256": SHA256, "bytes": len(DATA), "download_url": OUTSIDE}
            return httpx.Response(200, json={"name": "m", "version": 3, "onnx": onnx})
        self.requests.append(request)
        asked = request.headers.get("Range")
        self.asked.append(asked)
        is_same = request.headers.get("If-Range", f'"{SHA256}"') == f'"{SHA256}"'
        start = int(asked[6:-1]) if asked and is_same else 0
        body = self._data[start:]
        headers = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        parts = [body]
        if self._breaks:
            parts = [body[: self._breaks.pop(0)], httpx.RemoteProtocolError("incomplete body")]
        return httpx.Response(
            self.part_status if start else 200, headers=headers, stream=self._pieces(*parts)
        )


def fetch(surface, service, folder):
    return surface.ask(service, "jobs.download", "job_1", "model.onnx", folder)


def test_a_truncated_download_goes_on_from_its_last_byte(surface, pieces, tmp_path):
    service = Service(pieces, 1000, 24)
    path = fetch(surface, service, tmp_path / "new")
    assert path.read_bytes() == DATA
    assert service.asked == [None, "bytes=1000-", "bytes=1024-"]
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]


def test_what_came_before_the_program_died_is_not_fetched_again(surface, pieces, tmp_path):
    with pytest.raises(Unreachable, match="at 1000 of 10240 bytes"):
        fetch(surface, Service(pieces, 1000, 0, 0, 0), tmp_path)
    assert not (tmp_path / "model.onnx").exists()
    service = Service(pieces)
    fetch(surface, service, tmp_path)
    assert service.asked == ["bytes=1000-"]
    assert (tmp_path / "model.onnx").read_bytes() == DATA


def test_a_store_that_calls_a_part_the_whole_is_understood_by_its_content_range(surface, pieces, tmp_path):
    service = Service(pieces, 1000, part_status=200)
    assert fetch(surface, service, tmp_path).read_bytes() == DATA
    assert service.asked == [None, "bytes=1000-"]


@pytest.mark.parametrize("damaged", [bytes(len(DATA)), DATA[:-1], DATA + b"x"])
def test_a_wrong_digest_leaves_no_file(surface, pieces, tmp_path, damaged):
    with pytest.raises(DamagedDownload, match="sha256 is not") as caught:
        fetch(surface, Service(pieces, data=damaged), tmp_path)
    assert caught.value.code == "object_changed"
    assert list(tmp_path.iterdir()) == []


def test_another_range_than_asked_for_is_refused(surface, pieces, tmp_path):
    with pytest.raises(Unreachable):
        fetch(surface, Service(pieces, 1000, 0, 0, 0), tmp_path)

    def wrong(request):
        if request.url.path.endswith("/artifacts"):
            return httpx.Response(200, json={"data": [INSIDE]})
        return httpx.Response(206, headers={"Content-Range": "bytes 0-9/10240"}, content=DATA[:10])

    with pytest.raises(DamagedDownload, match="another range"):
        fetch(surface, wrong, tmp_path)


def test_a_file_that_is_there_is_not_fetched_and_another_of_its_name_is_replaced(surface, pieces, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"older")
    service = Service(pieces)
    fetch(surface, service, tmp_path)
    fetch(surface, service, tmp_path)
    assert service.asked == [None]
    assert (tmp_path / "model.onnx").read_bytes() == DATA


def test_a_name_that_leaves_the_folder_does_not(surface, pieces, tmp_path):
    name = "../../model.onnx"
    service = Service(pieces, file=INSIDE | {"name": name})
    path = surface.ask(service, "jobs.download", "job_1", name, tmp_path / "in")
    assert path == tmp_path / "in" / "model.onnx"


def test_an_unknown_name_is_answered_with_those_there_are(surface, pieces, tmp_path):
    with pytest.raises(NotFound) as caught:
        surface.ask(Service(pieces), "jobs.download", "job_1", "moon.onnx", tmp_path)
    assert "model.onnx" in caught.value.hint


def test_an_empty_file_is_a_file(surface, pieces, tmp_path):
    file = INSIDE | {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    assert fetch(surface, Service(pieces, data=b"", file=file), tmp_path).read_bytes() == b""


def test_the_key_is_never_sent_to_the_object_store(surface, pieces, tmp_path):
    service = Service(pieces, 100)
    path = surface.ask(service, "models.download", "m", 3, to=tmp_path)
    assert path.read_bytes() == DATA
    assert [request.url.host for request in service.requests] == ["store.test"] * 2
    assert all("Authorization" not in request.headers for request in service.requests)
    assert service.requests[1].headers["Range"] == "bytes=100-"
    assert str(service.requests[0].url) == OUTSIDE


def test_no_error_shows_the_signature_of_a_presigned_url(surface, pieces, tmp_path):
    with pytest.raises(Unreachable) as caught:
        surface.ask(Service(pieces, 0, 0, 0), "models.download", "m", 3, to=tmp_path)
    assert "secret" not in str(caught.value)
    assert "store.test" in str(caught.value)
