"""Downloads go on from where they broke off, and never with bytes of another file."""

import hashlib

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from api import ranges
from api.problems import install_problem_handlers
from api.ranges import Content, RangeNotSatisfiable, requested_range, respond
from heimdall_core.storage import FolderStore

DATA = bytes(range(256)) * 8
SHA256 = hashlib.sha256(DATA).hexdigest()
URI = "s3://models/jobs/1/model.onnx"


@pytest.fixture
def store(tmp_path):
    store = FolderStore(tmp_path)
    store.put_bytes(URI, DATA)
    return store


@pytest.fixture
def client(store, monkeypatch):
    monkeypatch.setattr(ranges, "_PIECE_BYTES", 100)
    content = Content(
        uri=URI, name="model.onnx", sha256=SHA256, num_bytes=len(DATA), media_type="application/octet-stream"
    )
    app = Starlette(routes=[Route("/f", lambda request: respond(request, content, store))])
    install_problem_handlers(app)
    return TestClient(app)


def test_the_whole_file_comes_with_its_digest(client):
    answer = client.get("/f")
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["ETag"] == f'"{SHA256}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=250-", 250, 2048),
        ("bytes=-3", 2045, 2048),
        ("bytes=2000-9999", 2000, 2048),
    ],
)
def test_a_range_is_206_with_its_place_in_the_whole(client, asked, start, stop):
    answer = client.get("/f", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/2048"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("condition", ['"another"', "Wed, 21 Oct 2015 07:28:00 GMT", f'W/"{SHA256}"'])
def test_a_download_of_another_content_begins_anew(client, condition):
    answer = client.get("/f", headers={"Range": "bytes=250-", "If-Range": condition})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_a_download_of_this_content_goes_on(client):
    answer = client.get("/f", headers={"Range": "bytes=250-", "If-Range": f'"{SHA256}"'})
    assert (answer.status_code, answer.content) == (206, DATA[250:])


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(client, asked):
    answer = client.get("/f", headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize(
    "asked", ["bytes=1-2,5-6", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=a-b", "", f"bytes=0-{'9' * 5000}"]
)
def test_what_is_no_single_range_gets_the_whole(client, asked):
    answer = client.get("/f", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, DATA)


def test_what_one_has_already_is_not_sent_again(client):
    answer = client.get("/f", headers={"If-None-Match": f'"other", "{SHA256}"'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_head_tells_the_size_whatever_the_range_and_reads_nothing(client, store):
    store.delete(URI)
    for asked in ("bytes=5-", "bytes=9999-"):
        answer = client.head("/f", headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == "2048"


@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_store_that_gives_another_number_of_bytes_is_a_problem(client, store, monkeypatch, surplus):
    def get_bytes(_uri, *, offset, num_bytes):
        return DATA[offset:][: num_bytes + surplus]

    monkeypatch.setattr(store, "get_bytes", get_bytes)
    answer = client.get("/f", headers={"Range": "bytes=0-99"})
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")


def test_a_file_that_ends_too_early_breaks_the_download_off(client, store):
    store.put_bytes(URI, DATA[:1000])
    with pytest.raises(RuntimeError, match="response already started"):
        client.get("/f")


def test_a_file_that_is_gone_from_the_store_is_a_problem_and_no_broken_download(client, store):
    store.delete(URI)
    answer = client.get("/f")
    assert (answer.status_code, answer.json()["code"]) == (404, "artifact_gone")
    assert URI in answer.json()["hint"]


def test_an_empty_file_has_no_range():
    assert requested_range("bytes=0-", 1) == (0, 1)
    with pytest.raises(RangeNotSatisfiable):
        requested_range("bytes=0-", 0)
