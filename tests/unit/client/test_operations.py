"""What calls send, and what they make of the answers."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest

from heimdall_client import Forbidden, HeimdallClient, NotConfigured, NotFound, Request


def sent(request):
    return json.loads(request.content)


def test_a_training_says_what_was_given_and_leaves_the_rest_to_the_service(surface, script, make_job):
    service = script(httpx.Response(202, json=make_job("queued")))
    surface.ask(service, "jobs.train", "northwest/3", model="localization", training={"epochs": 3})
    assert sent(service.requests[0]) == {
        "kind": "train",
        "dataset": {"name": "northwest", "version": 3},
        "model": {"name": "localization"},
        "training": {"epochs": 3},
    }


def test_a_training_that_was_done_before_is_told_as_such(surface, script, make_job):
    service = script(httpx.Response(200, json=make_job("succeeded"), headers={"Duplicate-Of": "job_1"}))
    job = surface.ask(service, "jobs.train", "northwest", on_duplicate="return")
    assert (job.duplicate_of, job.is_terminal) == ("job_1", True)
    assert sent(service.requests[0])["on_duplicate"] == "return"


@pytest.mark.parametrize("named", ["north/west", "/3", "", "a/³"])
def test_what_is_no_name_and_version_is_refused_before_it_is_sent(surface, script, named):
    service = script(httpx.Response(500))
    with pytest.raises(ValueError, match="is not NAME or NAME/VERSION"):
        surface.ask(service, "jobs.train", named)
    assert service.requests == []


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("job_1", {"job_id": "job_1"}),
        ("ckpt_1", {"checkpoint_id": "ckpt_1"}),
        ("m", {"model": {"name": "m"}}),
        ({"name": "m", "version": 2}, {"model": {"name": "m", "version": 2}}),
    ],
)
def test_an_export_names_its_source_by_what_it_is(surface, script, make_job, source, body):
    service = script(httpx.Response(202, json=make_job("queued")))
    surface.ask(service, "jobs.export", source)
    assert sent(service.requests[0])["source"] == body


def pages_of(count, size):
    def answer(request):
        start = int(request.url.params.get("cursor", 0))
        end = min(start + min(size, int(request.url.params["limit"])), count)
        data = [{"name": f"model-{n}"} for n in range(start, end)]
        more = end < count
        body = {"data": data, "next_cursor": str(end) if more else None, "has_more": more}
        return httpx.Response(200, json=body)

    return answer


@pytest.mark.parametrize(("limit", "count"), [(None, 7), (0, 0), (3, 3), (5, 5), (50, 7)])
def test_pages_are_followed_to_their_end_or_to_the_limit(surface, limit, count):
    models = surface.ask(pages_of(7, 3), "models.list", limit=limit)
    assert [model.name for model in models] == [f"model-{n}" for n in range(count)]


def test_no_page_is_asked_for_before_it_is_wanted(surface, script):
    service = script(pages_of(7, 3))
    surface.ask(service, "models.list", take=3)
    assert len(service.requests) == 1


def test_a_cursor_that_leads_nowhere_ends_the_pages(surface, script):
    service = script(httpx.Response(200, json={"data": [{"name": "m"}], "next_cursor": "same"}))
    assert len(surface.ask(service, "models.list")) == 2


def test_filters_are_sent_as_the_service_reads_them(surface, script):
    service = script(httpx.Response(200, json={"data": []}))
    moment = datetime(2025, 5, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    surface.ask(service, "jobs.list", status=["queued", "running"], kind="train", created_after=moment)
    assert service.requests[0].url.params.multi_items() == [
        ("status", "queued"),
        ("status", "running"),
        ("kind", "train"),
        ("created_after", "2025-05-01T12:00:00Z"),
        ("limit", "100"),
    ]


def test_a_time_without_a_zone_is_refused(surface, script):
    with pytest.raises(ValueError, match="has no time zone"):
        surface.ask(script(httpx.Response(500)), "jobs.list", created_after=datetime(2025, 5, 1))  # noqa: DTZ001


def test_what_a_person_types_stays_one_part_of_the_path(surface, script, make_job):
    service = script(httpx.Response(200, json=make_job()))
    surface.ask(service, "jobs.get", "../a b?c")
    assert service.requests[0].url.raw_path == b"/v1/jobs/..%2Fa%20b%3Fc"


def test_a_log_is_read_to_its_end(surface, script):
    service = script(
        httpx.Response(200, json={"attempt": 2, "content": "one\n", "next_after": 1}),
        httpx.Response(200, json={"attempt": 2, "content": "two\n", "next_after": 2}),
        httpx.Response(200, json={"attempt": 2, "content": "", "next_after": 2}),
    )
    log = surface.ask(service, "jobs.logs", "job_1")
    assert (log.attempt, log.content) == (2, "one\ntwo\n")
    assert [dict(request.url.params) for request in service.requests[1:]] == [
        {"attempt": "2", "after": "1"},
        {"attempt": "2", "after": "2"},
    ]


def test_a_retraining_says_whether_it_is_new(surface, script, make_job):
    service = script(httpx.Response(200, json=make_job(), headers={"Retrain-Outcome": "joined"}))
    retraining = surface.ask(service, "models.retrain", "m", reason="drift", dedupe_key="march")
    assert (retraining.job.id, retraining.outcome) == ("job_1", "joined")


def test_a_model_without_champion_is_said_to_have_none(surface, script):
    service = script(httpx.Response(200, json={"name": "m", "champion_version": None}))
    with pytest.raises(NotFound, match="has no champion"):
        surface.ask(service, "models.version", "m")


class Uploads:
    """Takes an upload of whatever is announced; one PUT breaks."""

    def __init__(self):
        self.put, self.headers, self.completed = {}, [], None
        self._broken = False

    def __call__(self, request):
        if request.url.host == "store.test":
            return self._take(request)
        if request.url.path.endswith(":complete"):
            self.completed = sent(request)
            return httpx.Response(202, json=self.job)
        self.announced = sent(request)["files"]
        files = [file | {"url": f"http://store.test/{file['name']}?sig=1"} for file in self.announced]
        return httpx.Response(201, json={"id": "upl_1", "files": files, "num_files": len(files)})

    def _take(self, request):
        self.headers.append(request.headers)
        if not self._broken:
            self._broken = True
            raise httpx.WriteError("connection reset")
        self.put[request.url.path[1:]] = request.read()
        return httpx.Response(200)


def test_a_folder_of_recordings_is_announced_sent_and_imported(surface, make_job, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.sigmf").write_bytes(b"a" * 600_000)
    (tmp_path / "in" / "b.sigmf").write_bytes(b"")
    service = Uploads()
    service.job = make_job("queued", kind="import")
    job = surface.ask(service, "recordings.upload", [tmp_path], auto_approve=True)
    assert job.kind == "import"
    assert {name: len(data) for name, data in service.put.items()} == {"a.sigmf": 600_000, "in/b.sigmf": 0}
    assert {headers["Content-Length"] for headers in service.headers} == {"600000", "0"}
    assert all("Transfer-Encoding" not in headers for headers in service.headers)
    assert all("Authorization" not in headers for headers in service.headers)
    assert service.completed == {"options": {"auto_approve": True}}


def test_paths_without_a_file_and_two_files_of_one_name_are_refused(surface, script, tmp_path):
    service = script(httpx.Response(500))
    with pytest.raises(FileNotFoundError):
        surface.ask(service, "recordings.upload", [tmp_path / "none"])
    with pytest.raises(ValueError, match="no file"):
        surface.ask(service, "recordings.upload", [tmp_path])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(b"")
    with pytest.raises(ValueError, match="have one name"):
        surface.ask(service, "recordings.upload", [tmp_path / "a", tmp_path / "b"])
    assert service.requests == []


def test_a_new_key_is_shown_to_its_owner_and_not_to_a_log(surface, script):
    answer = {"id": "key_1", "name": "ci", "key": "hmd_secret", "scopes": ["jobs:read"]}
    service = script(httpx.Response(201, json=answer))
    expiry = datetime(2030, 1, 1, tzinfo=UTC)
    key = surface.ask(service, "api_keys.create", "ci", scopes=["jobs:read"], expires_at=expiry)
    assert key.key == "hmd_secret"
    assert "hmd_secret" not in repr(key)
    assert sent(service.requests[0])["expires_at"] == "2030-01-01T00:00:00Z"


def test_what_has_no_method_can_be_asked_for(surface, script):
    service = script(httpx.Response(200, json={"novel": 1}))
    answer = surface.ask(service, "request", Request(method="GET", path="/v1/novelties"))
    assert answer.json() == {"novel": 1}


def test_readiness_is_told_also_when_there_is_none(surface, script):
    service = script(httpx.Response(503, json={"ready": False, "database": "unavailable"}))
    assert surface.ask(service, "readiness").database == "unavailable"
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("url", "key", "message"),
    [
        (None, "hmd_k", "no url was given"),
        ("http://h", None, "no api_key was given"),
        ("ftp://h", "hmd_k", "is no http or https URL"),
        ("h:80", "hmd_k", "is no http or https URL"),
        ("http://me:word@h", "hmd_k", "carries a password"),
        ("http://h", "hmd_k\nX-Admin: 1", "characters that no key has"),
    ],
)
def test_a_client_that_cannot_call_is_not_made(url, key, message):
    with pytest.raises(NotConfigured, match=message) as caught:
        HeimdallClient(url, key)
    assert "word" not in str(caught.value) or "password" in str(caught.value)


def test_the_environment_names_service_and_key(monkeypatch, script, make_job):
    monkeypatch.setenv("HEIMDALL_URL", "http://service.test/")
    monkeypatch.setenv("HEIMDALL_API_KEY", "hmd_env")
    service = script(httpx.Response(200, json=make_job()))
    with HeimdallClient(transport=httpx.MockTransport(service)) as client:
        client.jobs.get("job_1")
        assert client.url == "http://service.test"
    (request,) = service.requests
    assert request.headers["Authorization"] == "Bearer hmd_env"
    assert request.headers["User-Agent"].startswith("heimdall-client/")


def test_no_representation_shows_the_key():
    with HeimdallClient("http://service.test", "hmd_secret") as client:
        assert "hmd_secret" not in repr(client._shell.configuration)


@pytest.mark.parametrize("key", ['a"b', "a b", "é", "a\nb"])
def test_a_key_that_no_header_carries_is_refused_before_it_is_sent(surface, script, key):
    service = script(httpx.Response(500))
    with pytest.raises(ValueError, match="is no idempotency key"):
        surface.ask(service, "jobs.train", "northwest", idempotency_key=key)
    assert service.requests == []


class OpenUpload:
    """An upload of three files, one of which has arrived."""

    def __init__(self):
        self.put = []

    def __call__(self, request):
        if request.method == "PUT":
            self.put.append(request.url.path[1:])
            return httpx.Response(200)
        files = [
            {"name": name, "url": f"http://store.test/{name}", "size": 1, "received": name == "a"}
            for name in ("a", "b", "c")
        ]
        return httpx.Response(200, json={"id": "upl_1", "files": files, "num_files": 3})


def test_an_upload_that_broke_goes_on_with_what_is_missing(surface, tmp_path):
    for name in ("b", "c"):
        (tmp_path / name).write_bytes(b"x")
    service = OpenUpload()
    surface.ask(service, "uploads.send", "upl_1", [tmp_path])
    assert service.put == ["b", "c"]


def test_an_upload_is_not_completed_with_other_files(surface, tmp_path):
    (tmp_path / "b").write_bytes(b"longer than announced")
    service = OpenUpload()
    with pytest.raises(ValueError, match="has 21 bytes and was announced with 1"):
        surface.ask(service, "uploads.send", "upl_1", [tmp_path])
    (tmp_path / "b").write_bytes(b"x")
    with pytest.raises(ValueError, match="c has yet to be sent"):
        surface.ask(service, "uploads.send", "upl_1", [tmp_path])
    assert service.put == ["b"]


def test_a_store_that_refuses_a_file_is_told_without_the_signature(surface, tmp_path):
    (tmp_path / "b").write_bytes(b"x")
    (tmp_path / "c").write_bytes(b"x")

    def refuse(request):
        expired = httpx.Response(403, text="<Error><Code>AccessDenied</Code></Error>")
        return expired if request.method == "PUT" else OpenUpload()(request)

    with pytest.raises(Forbidden, match="HTTP 403"):
        surface.ask(refuse, "uploads.send", "upl_1", [tmp_path])


def version_of(**members):
    onnx = {"sha256": "0" * 64, "bytes": 3, "download_url": "http://store.test/model.onnx"}
    return {"name": "m", "version": 1, "onnx": onnx, **members}


def test_a_file_of_a_version_is_fetched_from_the_service_if_that_has_it(surface, tmp_path):
    digest = hashlib.sha256(b"abc").hexdigest()
    file = {"name": "report.json", "sha256": digest, "bytes": 3, "content_url": "/v1/jobs/job_1/artifacts/r"}
    export = {**version_of()["onnx"], "name": "model-int8.onnx", "sha256": digest}

    def answer(request):
        if request.url.path.endswith("/versions/1"):
            return httpx.Response(200, json=version_of(artifacts=[file], exports=[export]))
        asked.append(str(request.url))
        return httpx.Response(200, content=b"abc")

    asked = []
    for name in ("report.json", "model-int8.onnx"):
        path = surface.ask(answer, "models.download", "m", 1, file=name, to=tmp_path)
        assert (path.name, path.read_bytes()) == (name, b"abc")
    assert asked == ["http://service.test/v1/jobs/job_1/artifacts/r", "http://store.test/model.onnx"]
    with pytest.raises(NotFound) as caught:
        surface.ask(answer, "models.download", "m", 1, file="moon", to=tmp_path)
    assert caught.value.hint == "Its files: model-int8.onnx, report.json"


SPECTROGRAM = {
    "session_id": "s1",
    "segment": 1,
    "num_segments": 2,
    "frequency_hz": [-1.0, 1.0],
    "time_seconds": [0.01],
    "receivers": [{"receiver": "turin", "over_floor_db": [[1.0], [2.0]]}],
}


def test_a_spectrogram_is_waited_for_as_long_as_the_service_says(surface, script):
    pending = httpx.Response(202, json={"status": "pending"}, headers={"Retry-After": "2"})
    service = script(pending, pending, httpx.Response(200, json=SPECTROGRAM))
    found = surface.ask(service, "recordings.spectrogram", "s1", segment=1)
    assert (found.receivers[0].over_floor_db, surface.slept) == ([[1.0], [2.0]], [2.0, 2.0])
    assert {request.url.params["segment"] for request in service.requests} == {"1"}


def test_a_spectrogram_that_is_never_made_is_given_up(surface, script):
    pending = httpx.Response(202, json={"status": "pending"}, headers={"Retry-After": "1"})
    service = script(*[pending] * 4)
    with pytest.raises(TimeoutError, match="not made in 3 s"):
        surface.ask(service, "recordings.spectrogram", "s1", timeout=3)


def test_sessions_are_rejected_by_import_or_by_id(surface, script):
    service = script(*[httpx.Response(200, json={"rejected": 2})] * 2)
    assert surface.ask(service, "recordings.reject", import_job="job_1") == 2
    assert surface.ask(service, "recordings.reject", ids=["a", "b"]) == 2
    assert [sent(request) for request in service.requests] == [
        {"import_job_id": "job_1"},
        {"ids": ["a", "b"]},
    ]
