import hashlib
import json
import sys

import httpx
import pytest

from heimdall_core.cli import recordings_commands, uploading
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.cli.recordings_commands import upload_and_import
from heimdall_core.cli.resuming import resume_upload
from heimdall_core.cli.uploading import LocalFile
from heimdall_core.domain.errors import InvalidRequest


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(uploading, "PAUSE_SECONDS", 0.0)


class Service:
    """An open upload of which some files have arrived, and its store."""

    def __init__(self, announced, received, *, job_id=None):
        self.announced, self.received, self.job_id = announced, set(received), job_id
        self.completed = []
        self.stored = {}
        self.is_up = True

    def api(self, request):
        path = request.url.path
        if path == "/v1/uploads/upl_1:complete":
            self.completed.append(json.loads(request.content))
            return httpx.Response(202, json={"id": "job_1"})
        if path == "/v1/jobs/job_7":
            return httpx.Response(200, json={"id": "job_7"})
        targets = [
            {
                "name": name,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "received": name in self.received,
                "url": f"http://127.0.0.1:2/{name}",
            }
            for name, data in self.announced.items()
        ]
        return httpx.Response(200, json={"id": "upl_1", "job_id": self.job_id, "files": targets})

    def store(self, request):
        if not self.is_up:
            raise httpx.ConnectError("refused", request=request)
        self.stored[request.url.path[1:]] = request.content
        return httpx.Response(200)

    def client(self):
        return ApiClient("http://127.0.0.1:1", "k", transport=httpx.MockTransport(self.api))

    def resume(self, folder, files, on_file=lambda: None):
        with self.client() as client:
            return resume_upload(
                client,
                "upl_1",
                local_files(folder, files),
                options={"auto_approve": True},
                on_file=on_file,
                transport=httpx.MockTransport(self.store),
            )


def local_files(folder, contents):
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [LocalFile(name=name, path=folder / name) for name in contents]


FILES = {"a.sigmf": b"aaa", "b.sigmf": b"bb", "c.sigmf": b"c"}


def test_only_what_is_missing_is_sent_before_the_import_starts(tmp_path):
    service, told = Service(FILES, ["a.sigmf"]), []
    job = service.resume(tmp_path, FILES, on_file=lambda: told.append(None))
    assert job == {"id": "job_1"}
    assert service.stored == {"b.sigmf": b"bb", "c.sigmf": b"c"}
    assert service.completed == [{"options": {"auto_approve": True}}]
    assert len(told) == 3


def test_an_upload_that_was_completed_gives_its_job(tmp_path):
    service = Service({}, [], job_id="job_7")
    assert service.resume(tmp_path, FILES) == {"id": "job_7"}
    assert (service.stored, service.completed) == ({}, [])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (FILES | {"d.sigmf": b"d"}, "1 files are not part of upload upl_1, such as d.sigmf"),
        ({"a.sigmf": b"aaa", "b.sigmf": b"bb"}, "c.sigmf has yet to be sent and is not in these paths"),
        (FILES | {"b.sigmf": b"BB"}, "b.sigmf has changed since the upload began"),
        (FILES | {"b.sigmf": b"bbb"}, "b.sigmf has changed since the upload began"),
    ],
)
def test_other_files_than_were_announced_are_refused_and_nothing_is_sent(tmp_path, files, message):
    service = Service(FILES, ["a.sigmf"])
    with pytest.raises(InvalidRequest, match=message):
        service.resume(tmp_path, files)
    assert (service.stored, service.completed) == ({}, [])


@pytest.mark.parametrize(("broken", "error"), [(False, KeyboardInterrupt), (True, ServerUnreachable)])
def test_a_broken_upload_says_the_command_that_goes_on_with_it(tmp_path, monkeypatch, capsys, broken, error):
    def send(client, upload_id, files, *, options, on_start, on_file):
        on_start(upload_id)
        raise error("no answer") if broken else error

    monkeypatch.setattr(recordings_commands, "resume_upload", send)
    folder = tmp_path / "my recordings"
    folder.mkdir()
    with Service(FILES, []).client() as client, pytest.raises(error):
        upload_and_import(
            client, local_files(folder, FILES), {"auto_approve": True}, paths=[folder], resume="upl_1"
        )
    said = capsys.readouterr().err
    assert f"heimdall recordings import '{folder}' --resume upl_1 --approve" in said


def test_an_upload_that_did_not_begin_has_nothing_to_go_on_with(tmp_path, capsys):
    with Service(FILES, []).client() as client, pytest.raises(InvalidRequest):
        upload_and_import(client, local_files(tmp_path, {"x": b""}), {}, paths=[tmp_path], resume="upl_1")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name either paths or --platform"),
        (("x.sigmf", "--platform"), "name either paths or --platform"),
        (("--platform", "--approve"), "--approve does not go with --platform"),
        (("--platform", "--resume", "upl_1"), "--resume does not go with --platform"),
        (("x.sigmf", "--session", "s"), "--session goes with --platform alone"),
        (("x.sigmf", "--started-after", "2025-01-01"), "--started-after goes with --platform alone"),
    ],
)
def test_options_of_an_import_that_do_not_go_together_are_refused(monkeypatch, capsys, arguments, message):
    from heimdall_core.cli import main

    monkeypatch.setattr(sys, "argv", ["heimdall", "recordings", "import", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main.main()
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err
