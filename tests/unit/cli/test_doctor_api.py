import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from heimdall_core.cli.doctor_api import check_api, check_tracking
from heimdall_core.cli.doctor_findings import Findings, State

Answer = Callable[[str, str], tuple[int, Any]]
READY = {"ready": True, "database": "ok", "redis": "ok", "storage": "ok"}


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Starts small HTTP servers; each answers status and JSON by method and path."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, body = answer(self.command, self.path.partition("?")[0])
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _reply  # noqa: N815 - the names of http.server

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def service(**replaced: tuple[int, Any]) -> Answer:
    """A service that does everything right, but for the paths of ``replaced``."""
    seen_at = datetime.now(UTC).isoformat()
    worker = {"name": "worker@a", "accelerator": "1 gpu", "slots": 2, "last_seen_at": seen_at}

    def answer(method: str, path: str) -> tuple[int, Any]:
        if path.rpartition("/")[2] in replaced:
            return replaced[path.rpartition("/")[2]]
        if method == "POST":
            return 422, {"title": "Invalid", "code": "invalid_request"}
        return 200, {"/readyz": READY, "/v1/workers": {"data": [worker]}}.get(path, {"data": []})

    return answer


def bad(found: Findings) -> list[tuple[State, str]]:
    return [(f.state, f.message) for f in found if f.state is not State.OK]


def test_a_service_that_is_well_has_only_good_findings(serve):
    found = check_api(serve(service()), "hmd_key", "HEIMDALL_URL")
    assert bad(found) == []
    assert any("1 of 1 seen" in f.message and "1 gpu" in f.message for f in found)


def test_a_stranger_at_the_address_is_told_with_its_status(serve):
    ((state, message),) = bad(check_api(serve(lambda *_: (403, {})), "hmd_key", "HEIMDALL_URL"))
    assert state is State.FAILED
    assert message.endswith("/livez answers HTTP 403")


def test_a_service_without_its_schema_says_migrate(serve):
    unready = {**READY, "ready": False, "database": "not_migrated"}
    found = check_api(serve(service(readyz=(503, unready))), "hmd_key", "HEIMDALL_URL")
    assert (State.FAILED, "it says database is not_migrated") in bad(found)
    assert "run `heimdall migrate`" in {f.remedy for f in found}


def test_a_service_that_lost_redis_is_doubtful_only(serve):
    found = check_api(
        serve(service(readyz=(200, {**READY, "redis": "no_answer"}))), "hmd_key", "HEIMDALL_URL"
    )
    assert bad(found) == [(State.WARNING, "it says redis is no_answer")]


def test_a_refused_key_is_a_failure_and_not_shown(serve):
    refusal = (401, {"detail": "the API key is not known", "hint": "Send another."})
    found = check_api(serve(service(queue=refusal)), "hmd_secret", "HEIMDALL_URL")
    assert bad(found) == [(State.FAILED, "the API refuses the key: the API key is not known")]
    assert "hmd_secret" not in str(found)


def test_a_missing_key_names_its_variable(serve):
    assert bad(check_api(serve(service()), None, "HEIMDALL_URL")) == [
        (State.FAILED, "HEIMDALL_API_KEY is not set")
    ]


def test_scopes_that_the_key_lacks_are_listed(serve):
    found = check_api(serve(service(jobs=(403, {}), uploads=(403, {}))), "hmd_key", "HEIMDALL_URL")
    ((state, message),) = bad(found)
    assert state is State.WARNING
    assert message.endswith("lacks jobs:write, recordings:write")


@pytest.mark.parametrize(
    ("workers", "known"),
    [([], "none has ever been"), ([{"last_seen_at": "2025-01-01T00:00:00+00:00"}], "the last at 2025-01-01")],
)
def test_without_a_worker_of_the_last_minute_jobs_wait(serve, workers, known):
    found = check_api(serve(service(workers=(200, {"data": workers}))), "hmd_key", "HEIMDALL_URL")
    ((state, message),) = bad(found)
    assert state is (State.FAILED if workers else State.WARNING), "one that was never seen may be starting"
    assert known in message


def test_a_worker_of_two_minutes_ago_does_not_count(serve):
    seen_at = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    found = check_api(
        serve(service(workers=(200, {"data": [{"last_seen_at": seen_at}]}))), "hmd_key", "HEIMDALL_URL"
    )
    assert "none seen in the last minute" in bad(found)[0][1]


def test_an_api_that_is_not_there_names_the_setting():
    (found,) = check_api("http://127.0.0.1:1", "hmd_key", "HEIMDALL_URL")
    assert (found.state, "refuses the connection" in found.message) == (State.FAILED, True)
    assert "HEIMDALL_URL" in (found.remedy or "")


def test_an_address_that_is_none_is_told():
    assert bad(check_api("localhost:8080", "k", "HEIMDALL_URL")) == [
        (State.FAILED, "HEIMDALL_URL is no HTTP URL")
    ]


@pytest.mark.parametrize(("status", "part"), [(403, "wants a credential"), (500, "answers HTTP 500")])
def test_mlflow_that_refuses_is_doubtful_only(serve, status, part):
    (found,) = check_tracking(serve(lambda *_: (status, {})))
    assert found.state is State.WARNING
    assert part in found.message


def test_mlflow_away_or_absent_or_no_server():
    away = check_tracking("http://user:secret@127.0.0.1:1")[0]
    assert away.state is State.WARNING
    assert "secret" not in str(away)
    assert check_tracking(None)[0].state is State.OK
    assert "not checked" in check_tracking("file:///mlruns")[0].message
