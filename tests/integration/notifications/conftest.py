"""Jobs and models to tell of, and receivers to tell."""

import http.server
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from heimdall_core.database.catalogue_tables import Model
from heimdall_core.database.engine import Database
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.jobs.events import record_event


@pytest.fixture
def make_job(database: Database) -> Callable[..., str]:
    """Adds a job without a history."""

    def add(owner: str = "ann", kind: str = "train", model: str = "north") -> str:
        job_id = new_id("job")
        with database.transaction() as session:
            session.add(Job(id=job_id, kind=kind, owner=owner, spec={"model": {"name": model}}))
        return job_id

    return add


@pytest.fixture
def record(database: Database) -> Callable[..., None]:
    """Adds events to a job's history, in one transaction."""

    def add(job_id: str, *names: str, **data: Any) -> None:
        with database.transaction() as session:
            job = session.get_one(Job, job_id)
            for name in names:
                record_event(session, job, name, **data)
                session.flush()

    return add


@pytest.fixture
def model(database: Database) -> str:
    """The name of a model."""
    with database.transaction() as session:
        session.add(Model(name="north"))
    return "north"


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps what it is sent and answers with one status after another, the last one for good."""

    daemon_threads = True

    def __init__(self, *answers, slow_seconds=0.0):
        self.answers, self.slow_seconds, self.received = list(answers) or [(204, {})], slow_seconds, []
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/hook"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def __exit__(self, *details):
        self.shutdown()
        super().__exit__(*details)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers.items()), body))
        answers = self.server.answers
        status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        for letter in f"HTTP/1.1 {status} Whatever\r\n":
            self.wfile.write(letter.encode())
            time.sleep(self.server.slow_seconds)
        self.wfile.write("".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode() + b"\r\n")

    def log_message(self, *_):
        pass


@pytest.fixture
def receive() -> type[Receiver]:
    """Receivers on this machine."""
    return Receiver
