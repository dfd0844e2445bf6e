"""``heimdall jobs download``: whole files or none, from where they broke off, never damaged ones."""

import hashlib
from collections.abc import Iterator

import httpx
import pytest
from typer.testing import CliRunner

from heimdall_core.cli import jobs_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.downloading import download_file
from heimdall_core.cli.errors import RequestRefused, ServerUnreachable
from heimdall_core.domain.errors import DataError, InvalidRequest

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()
FILE = {
    "name": "model.onnx",
    "sha256": SHA256,
    "bytes": len(DATA),
    "content_url": "/v1/jobs/job_1/artifacts/model.onnx",
}


class Breaking(httpx.SyncByteStream):
    """Sends some bytes and then breaks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self._data
        raise httpx.ReadError("connection reset")


class Service:
    """The route of one file; ``breaks`` says after how many bytes each answer breaks."""

    def __init__(self, *breaks: int, data: bytes = DATA) -> None:
        self.asked: list[str | None] = []
        self._breaks = list(breaks)
        self._data = data

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/artifacts"):
            return httpx.Response(200, json={"data": [FILE]})
        asked = request.headers.get("Range")
        self.asked.append(asked)
        start = int(asked[6:-1]) if asked and request.headers["If-Range"] == f'"{SHA256}"' else 0
        headers = {"Content-Range": f"bytes {start}-{len(self._data) - 1}/{len(self._data)}"} if start else {}
        body = self._data[start:]
        stream = Breaking(body[: self._breaks.pop(0)]) if self._breaks else None
        status = 206 if start else 200
        if stream is not None:
            return httpx.Response(status, headers=headers, stream=stream)
        return httpx.Response(status, headers=headers, content=body)


def client_of(service: object) -> ApiClient:
    return ApiClient("http://api.test", "key", transport=httpx.MockTransport(service))  # type: ignore[arg-type]


def test_a_broken_download_goes_on_from_its_last_byte(tmp_path):
    service = Service(1000, 24)
    path = download_file(client_of(service), FILE, tmp_path)
    assert path.read_bytes() == DATA
    assert service.asked == [None, "bytes=1000-", "bytes=1024-"]
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_what_was_downloaded_before_the_command_died_is_not_fetched_again(tmp_path):
    with pytest.raises(ServerUnreachable, match="at 1000 of 10240 bytes") as broken:
        download_file(client_of(Service(1000, 0, 0, 0)), FILE, tmp_path)
    assert "goes on" in (broken.value.hint or "")
    assert not (tmp_path / "model.onnx").exists()
    service = Service()
    download_file(client_of(service), FILE, tmp_path)
    assert service.asked == ["bytes=1000-"]
    assert (tmp_path / "model.onnx").read_bytes() == DATA


@pytest.mark.parametrize("damaged", [bytes(len(DATA)), DATA[:-1], DATA + b"x"])
def test_damaged_bytes_never_become_the_file(tmp_path, damaged):
    with pytest.raises(DataError) as refusal:
        download_file(client_of(Service(data=damaged)), FILE, tmp_path)
    assert refusal.value.stable_code == "object_changed"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_fetched_and_another_of_its_name_is_replaced(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"older")
    service = Service()
    download_file(client_of(service), FILE, tmp_path)
    download_file(client_of(service), FILE, tmp_path)
    assert service.asked == [None]
    assert (tmp_path / "model.onnx").read_bytes() == DATA


def test_a_refusal_is_told_in_the_services_words(tmp_path):
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"code": "artifact_gone", "detail": "no model.onnx any more"})

    with pytest.raises(RequestRefused, match="any more") as refusal:
        download_file(client_of(refuse), FILE, tmp_path)
    assert refusal.value.stable_code == "artifact_gone"


def test_a_name_that_leaves_the_folder_does_not(tmp_path):
    path = download_file(client_of(Service()), FILE | {"name": "../../model.onnx"}, tmp_path / "in")
    assert path == tmp_path / "in" / "model.onnx"


def test_an_unknown_name_is_answered_with_those_there_are(monkeypatch, tmp_path):
    monkeypatch.setattr(jobs_commands, "connect", lambda **_: client_of(Service()))
    result = CliRunner().invoke(jobs_commands.app, ["download", "job_1", "moon.onnx"])
    assert isinstance(result.exception, InvalidRequest)
    assert "model.onnx" in result.exception.hint
    done = CliRunner().invoke(jobs_commands.app, ["download", "job_1", "model.onnx", "--to", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "model.onnx").read_bytes() == DATA
