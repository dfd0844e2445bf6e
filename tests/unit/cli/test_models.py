import hashlib
import json
from collections.abc import Callable

import httpx
import pytest

from heimdall_core.cli import models_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.cli.models_commands import download, show
from heimdall_core.domain.errors import DataError, InvalidRequest

ONNX = b"an ONNX file"
VERSION = {
    "name": "localization",
    "version": 2,
    "aliases": ["champion"],
    "metrics": {"median_error_m": 1234.5, "coverage": {"68": 0.701}, "note": None},
    "onnx": {
        "uri": "s3://models/x.onnx",
        "sha256": hashlib.sha256(ONNX).hexdigest(),
        "bytes": len(ONNX),
        "download_url": "http://storage/x.onnx",
    },
    "dataset": {"name": "northwest", "version": 3, "digest": "d1g3"},
    "job_id": "job_a",
    "facts": {"receivers": ["Torino", "Genova"], "backbone": "micro", "covariance": "full", "components": 1},
    "mlflow_run_id": None,
    "mlflow_version": None,
    "created_by": "local",
    "created_at": "2025-01-01T00:00:00Z",
}


@pytest.fixture
def service(monkeypatch) -> Callable[[int, bytes], None]:
    """A service with one model version, and the object store's answer for its file."""

    def connect(**_: object) -> ApiClient:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"data": [VERSION]}))
        return ApiClient("http://service", "hmd_key", transport=transport)

    def store(status: int, content: bytes) -> None:
        def stream(method: str, url: str, **_: object):
            client = httpx.Client(
                transport=httpx.MockTransport(lambda _: httpx.Response(status, content=content))
            )
            return client.stream(method, url)

        monkeypatch.setattr(models_commands.httpx, "stream", stream)

    monkeypatch.setattr(models_commands, "connect", connect)
    return store


def test_a_version_is_shown_with_all_that_tells_it_apart(service, capsys):
    show("localization")
    shown = capsys.readouterr().out
    for part in (
        "localization/2  champion",
        "northwest/3  digest d1g3",
        "2: Torino, Genova",
        str(VERSION["onnx"]["sha256"]),
        "median_error_m               1,234 m",
        "coverage.68                  0.701",
        "note                         -",
    ):
        assert part in shown


def test_a_version_as_json_is_what_the_service_said(service, capsys):
    show("localization", as_json=True)
    assert json.loads(capsys.readouterr().out) == VERSION


def test_a_download_is_checked_and_goes_where_it_shall(service, capsys, tmp_path):
    service(200, ONNX)
    download("localization", output=tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "file": str(tmp_path / "localization-2.onnx"),
        "bytes": len(ONNX),
        "sha256": VERSION["onnx"]["sha256"],
    }
    assert (tmp_path / "localization-2.onnx").read_bytes() == ONNX


def test_damaged_bytes_leave_no_file(service, tmp_path):
    service(200, b"other bytes")
    with pytest.raises(DataError, match="is damaged"):
        download("localization", output=tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_refuses_is_not_called_away(service, tmp_path):
    service(403, b"expired")
    with pytest.raises(DataError, match="HTTP 403"):
        download("localization", output=tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_away_is_told(service, tmp_path, monkeypatch):
    def away(*_: object, **__: object):
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(models_commands.httpx, "stream", away)
    with pytest.raises(ServerUnreachable, match="refused"):
        download("localization", output=tmp_path / "x.onnx")


def test_a_place_that_cannot_be_written_is_told(service, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="cannot write"):
        download("localization", output=tmp_path / "file" / "x.onnx")
