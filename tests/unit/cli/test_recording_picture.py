import hashlib
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest

from heimdall_core.cli import recording_picture
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.cli.recording_picture import fetch_ranges, show
from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.recordings.archive import pack_session
from heimdall_core.simulation.world_a import simulate_sessions

SAMPLES = (0.1 * np.exp(0.3j * np.arange(2000))).astype("<c8").tobytes()
HEADER = b"\x93NUMPY".ljust(128)


def recording(**changed: object) -> dict[str, object]:
    return {
        "receiver": "Torino",
        "latitude": 45.0,
        "longitude": 7.7,
        "sha256": hashlib.sha256(SAMPLES).hexdigest(),
        "offset": len(HEADER),
        "num_bytes": len(SAMPLES),
        "format": "npy",
        "sample_rate_hz": 12_500,
        "noise_floor_dbfs": None,
        "center_frequency_hz": 145_000_000,
        "download_url": "http://storage/a.npy",
        **changed,
    }


def session(*recordings: dict[str, object]) -> dict[str, object]:
    return {
        "id": "0196",
        "name": "first / heard",
        "started_at": "2025-01-01T00:00:00Z",
        "source": {
            "name": "beacon",
            "frequency_hz": 145_000_000,
            "latitude": 45.2,
            "longitude": 7.9,
            "error_margin_m": None,
            "power_dbm": None,
        },
        "archive": None,
        "recordings": list(recordings),
    }


def storage(content: bytes, *, ranges: bool = True, status: int = 206) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        first, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[first : last + 1] if ranges else content
        return httpx.Response(status if ranges else 200, content=part)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_platform_recording_is_the_range_behind_its_header(ranges):
    found = fetch_ranges(session(recording()), transport=storage(HEADER + SAMPLES + b"more", ranges=ranges))
    assert found.recordings[0].samples.tobytes() == SAMPLES
    assert found.recordings[0].format == "cf32_le"
    assert (found.name, found.source.name) == ("first / heard", "beacon")


@pytest.mark.parametrize("content", [HEADER + SAMPLES[:-8], HEADER + SAMPLES[:-1] + b"x"])
def test_bytes_that_are_not_those_of_the_catalogue_are_refused(content):
    with pytest.raises(DataError, match="not what was catalogued"):
        fetch_ranges(session(recording()), transport=storage(content))


def test_a_store_that_refuses_is_told():
    with pytest.raises(DataError, match="HTTP 403 for Torino"):
        fetch_ranges(session(recording()), transport=storage(HEADER + SAMPLES, status=403))


def test_a_store_that_is_away_is_told():
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServerUnreachable, match="refused"):
        fetch_ranges(session(recording()), transport=httpx.MockTransport(away))


def test_samples_of_an_unknown_format_are_refused():
    strange = recording(format="cf64_be")
    with pytest.raises(DataError, match="Torino cannot be read"):
        fetch_ranges(session(strange), transport=storage(HEADER + SAMPLES))


def test_a_session_without_known_samples_is_refused():
    with pytest.raises(InvalidRequest, match="no recording whose samples are known"):
        fetch_ranges(session(recording(num_bytes=None)))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (drawn,) = simulate_sessions(1, 1)
    path = tmp_path / "world.sigmf"
    path.write_bytes(pack_session(drawn).data)
    return path


def test_an_archive_becomes_a_picture_and_a_table(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    show(str(archive))
    first, head, *rows = capsys.readouterr().out.splitlines()
    assert Path(first).read_bytes().startswith(b"\x89PNG")
    assert head.split()[:2] == ["receiver", "distance"]
    assert any(row.startswith("Torino") for row in rows)


def test_as_json_the_strongest_comes_first(archive, tmp_path, capsys):
    show(str(archive), output=tmp_path / "pictures" / "x.png", as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    ratios = [r["snr_db"] for r in told["recordings"]]
    assert told["picture"] == str(tmp_path / "pictures" / "x.png")
    assert ratios == sorted(ratios, reverse=True)


def test_a_session_of_the_service_is_drawn_under_a_safe_name(monkeypatch, tmp_path, capsys):
    def connect(**_: object) -> ApiClient:
        answer = httpx.MockTransport(lambda _: httpx.Response(200, json=session(recording())))
        return ApiClient("http://service", "hmd_key", transport=answer)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recording_picture, "connect", connect)
    monkeypatch.setattr(
        recording_picture,
        "fetch_ranges",
        lambda known: fetch_ranges(known, transport=storage(HEADER + SAMPLES)),
    )
    show("0196")
    assert capsys.readouterr().out.startswith("first_heard.png\n")
    assert (tmp_path / "first_heard.png").exists()


def test_a_file_that_is_not_there_is_told():
    with pytest.raises(InvalidRequest, match="does not exist"):
        show("nowhere/x.sigmf")


def test_a_place_that_cannot_be_written_is_told(archive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="cannot write"):
        show(str(archive), output=tmp_path / "file" / "x.png")


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("heimdall_core.evaluation.spectrogram_plot", {"torch", "sklearn"}),
        ("heimdall_core.prediction", {"sklearn", "transformers", "matplotlib", "mlflow"}),
    ],
)
def test_pictures_and_predictions_import_no_more_than_they_use(module, absent):
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert absent.isdisjoint(loaded)


@pytest.mark.parametrize("unknown", [None, {"latitude": None}, {"frequency_hz": None}])
def test_a_platform_session_whose_source_is_left_open_can_be_seen(unknown):
    stated = session(recording())
    stated["source"] = unknown and {**stated["source"], **unknown}
    found = fetch_ranges(stated, transport=storage(HEADER + SAMPLES))
    assert len(found.recordings) == 1
    assert found.source.is_located == (unknown == {"frequency_hz": None})
