"""Events over HTTP: pages, and streams from a real server."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from sqlalchemy import func, text, update

from api.app import create_app
from api.event_hub import Follower, StreamEnd
from api.services import Services
from heimdall_core.accounts.web_sessions import csrf_token
from heimdall_core.database.catalogue_tables import ApiKey, Model
from heimdall_core.database.ids import new_id
from heimdall_core.database.job_tables import Job
from heimdall_core.jobs.events import record_event
from heimdall_core.notifications.listening import APPLICATION_NAME
from heimdall_core.registry.events import ModelEventKind, record_model_event
from heimdall_core.settings import EventSettings

ENDED = {"status": "succeeded", "finished_at": func.now()}


@pytest.fixture
def make_job(database):
    def add(*names, owner="ann", **values):
        job_id = new_id("job")
        with database.transaction() as session:
            session.add(Job(id=job_id, kind="train", owner=owner, spec={"model": {"name": "north"}}))
        tell(database, job_id, *names, **values)
        return job_id

    return add


def tell(database, job_id, *names, **values):
    with database.transaction() as session:
        job = session.get_one(Job, job_id)
        for name in names:
            record_event(session, job, name)
            session.flush()
        if values:
            session.execute(update(Job).where(Job.id == job_id).values(**values))


def promote(database):
    with database.transaction() as session:
        session.add(Model(name="north"))
        session.flush()
        record_model_event(
            session, ModelEventKind.PROMOTED, model="north", version=1, former_version=None, actor="ann"
        )


def problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.json()["code"] == code
    return response.json()


def names(page):
    return [event["event"] for event in page["data"]]


# Pages


def test_what_is_no_event_is_refused(client, make_job):
    job_id = make_job("job.queued")
    for after in ("evt_", "first", "-1", "evt_1.5", "1" * 30):
        for path in (f"/v1/jobs/{job_id}/events", f"/v1/jobs/{job_id}/events/stream", "/v1/events/stream"):
            assert client.get(path, params={"after": after}).status_code == 422
        stream = client.get(f"/v1/jobs/{job_id}/events/stream", headers={"Last-Event-ID": after})
        assert stream.status_code == 422


def test_events_of_another_owner_are_neither_listed_nor_streamed(client, database, make_job):
    theirs, mine = make_job("job.queued", owner="ann"), make_job("job.queued", owner="bob")
    promote(database)
    bob = client.make_key("jobs:read")
    for path in ("events", "events/stream"):
        problem(client.get(f"/v1/jobs/{theirs}/{path}", headers=bob), 404, "job_not_found")
    assert [e["job_id"] for e in client.get("/v1/events", headers=bob).json()["data"]] == [mine]
    wider = client.make_key("jobs:read", "models:read")
    assert names(client.get("/v1/events", headers=wider).json()) == ["job.queued", "model.promoted"]
    problem(client.get("/v1/events", headers=client.make_key("models:read")), 403, "missing_scope")


def test_pages_hold_every_event_once_and_say_how_to_go_on(client, database, make_job):
    job_id = make_job("job.queued", "job.started")
    promote(database)
    tell(database, job_id, "job.succeeded", **ENDED)
    first = client.get("/v1/events?limit=2").json()
    rest = client.get("/v1/events", params={"after": first["next_after"]}).json()
    assert names(first) + names(rest) == ["job.queued", "job.started", "model.promoted", "job.succeeded"]
    nothing = client.get("/v1/events", params={"after": rest["next_after"]}).json()
    assert nothing == {"data": [], "next_after": rest["next_after"]}
    of_job = client.get(f"/v1/jobs/{job_id}/events").json()
    assert [e["id"] for e in of_job["data"]] == [e["id"] for e in first["data"]] + [rest["data"][-1]["id"]]
    assert client.get(f"/v1/jobs/{job_id}/events", params={"after": "2", "limit": 1}).json() == {
        "data": [rest["data"][-1]],
        "next_after": rest["data"][-1]["id"],
    }


def test_a_page_of_rare_events_goes_on_from_the_newest_that_was_looked_at(client, make_job):
    make_job("job.queued", "job.started")
    page = client.get("/v1/events", params={"name": "model.*"}).json()
    assert page == {"data": [], "next_after": "evt_2"}
    assert client.get("/v1/events", params={"after": "now"}).json() == page
    assert names(client.get("/v1/events", params={"name": ["job.s*"], "kind": "train"}).json()) == [
        "job.started"
    ]
    assert client.get("/v1/events", params={"name": "*.failed"}).status_code == 422


# Streams


class Stream:
    """What comes on a stream, as it comes."""

    def __init__(self, response):
        self.status_code, self.headers = response.status_code, response.headers
        self._lines = response.iter_lines()

    def blocks(self) -> Iterator[list[str]]:
        block = []
        for line in self._lines:
            if line:
                block.append(line)
            else:
                yield block
                block = []

    def events(self) -> Iterator[dict]:
        for block in self.blocks():
            fields = dict(line.split(": ", 1) for line in block if not line.startswith(":"))
            if "data" in fields:
                document = json.loads(fields["data"])
                assert (document["id"], document["event"]) == (fields["id"], fields["event"])
                yield document

    def take(self, count):
        events = self.events()
        return [next(events)["event"] for _ in range(count)]

    def rest(self):
        return [event["event"] for event in self.events()]


class Server:
    """An application of its own behind a socket."""

    def __init__(self, client, headers=None, **settings):
        events = EventSettings(**settings)
        self.app = app = create_app(
            Services(
                settings=client.settings.model_copy(update={"events": events}),
                database=client.database,
                store=client.store,
                hints=client.app.state.services.hints,
            )
        )
        config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=10)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._headers = headers or client.headers

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self._server.started)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self.client = httpx.Client(base_url=self.url, headers=self._headers, trust_env=False, timeout=20)
        return self

    def __exit__(self, *_):
        self.stop()
        self.client.close()

    def stop(self):
        self.app.state.events.end_all_soon()  # what the process's signal handler does
        self._server.should_exit = True
        self._thread.join(timeout=30)
        assert not self._thread.is_alive(), "it hangs"

    @contextmanager
    def stream(self, path, **options):
        with self.client.stream("GET", path, **options) as response:
            if response.status_code != 200:
                response.read()
            yield Stream(response)


def wait_until(holds, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def server(client):
    with Server(client) as server:
        yield server


def followers(server):
    return server.app.state.events.num_followers


def test_a_job_that_has_ended_and_told_everything_is_not_asked_again(client, make_job):
    job_id = make_job("job.queued", "job.succeeded", **ENDED)
    newest = client.get(f"/v1/jobs/{job_id}/events").json()["next_after"]
    again = client.get(f"/v1/jobs/{job_id}/events/stream", headers={"Last-Event-ID": newest})
    assert (again.status_code, again.content) == (204, b"")


def test_a_job_is_followed_from_its_first_event_to_its_last(server, client, database, make_job):
    job_id = make_job("job.queued", "job.started")
    with server.stream(f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-cache"
        assert stream.take(2) == ["job.queued", "job.started"]
        make_job("job.queued")
        tell(database, job_id, "epoch")
        tell(database, job_id, "job.succeeded", **ENDED)
        assert stream.rest() == ["epoch", "job.succeeded"]
    wait_until(lambda: followers(server) == 0)
    with server.stream(f"/v1/jobs/{job_id}/events/stream", headers={"Last-Event-ID": "evt_2"}) as stream:
        assert stream.rest() == ["epoch", "job.succeeded"]


def test_progress_comes_between_events_to_who_wants_it_and_is_nothing_to_go_on_after(
    client, database, make_job
):
    job_id = make_job("job.queued", "job.started")
    running = {"status": "running", "lease_owner": "w", "lease_expires_at": func.now()}
    path = f"/v1/jobs/{job_id}/events/stream"
    with (
        Server(client, progress_seconds=0.05) as server,
        server.stream(path, params={"progress": True}) as watched,
        server.stream(path) as plain,
    ):
        blocks = watched.blocks()
        assert [next(blocks)[0].split(":")[0] for _ in range(3)] == ["retry", "id", "id"]
        for percent in (10.0, 20.0):
            progress = {"percent": percent}
            tell(database, job_id, **running, progress=progress, revision=Job.revision + 1)
            name, data = next(blocks)
            assert name == "event: job.progress"
            document = json.loads(data.removeprefix("data: "))
            assert (document["job_id"], document["data"]["progress"]) == (job_id, progress)
            assert "id" not in document
        ended = ENDED | {"lease_owner": None, "lease_expires_at": None}
        tell(database, job_id, "job.succeeded", **ended)
        assert [block[1] for block in blocks if block[0].startswith("id")] == ["event: job.succeeded"]
        assert plain.rest() == ["job.queued", "job.started", "job.succeeded"]


def test_everything_is_followed_from_now_on_or_from_the_last_event_that_one_has(server, database, make_job):
    job_id = make_job("job.queued", "job.started")
    with server.stream("/v1/events/stream", params={"name": ["job.*", "model.*"]}) as stream:
        wait_until(lambda: followers(server) == 1)
        tell(database, job_id, "step", "job.requeued")
        promote(database)
        assert stream.take(2) == ["job.requeued", "model.promoted"]
    wait_until(lambda: followers(server) == 0)
    for after in ("evt_1", "evt_4"):
        with server.stream("/v1/events/stream", headers={"Last-Event-ID": after}) as stream:
            expected = ["job.started", "step", "job.requeued", "model.promoted"]
            assert stream.take(5 - int(after[-1])) == expected[int(after[-1]) - 1 :]


def test_an_event_arrives_soon_after_its_commit(server, database, make_job):
    job_id, delays = make_job("job.queued"), []
    with server.stream("/v1/events/stream") as stream:
        wait_until(lambda: followers(server) == 1)
        events = stream.events()
        for number in range(10):
            tell(database, job_id, f"step.{number}")
            committed = time.monotonic()
            next(events)
            delays.append(time.monotonic() - committed)
    assert sorted(delays)[5] < 0.2, delays


def test_the_database_is_read_once_for_all_followers(server, database, make_job):
    job_id = make_job("job.queued")
    hub, batches = server.app.state.events, []
    with server.stream("/v1/events/stream"):
        wait_until(lambda: followers(server) == 1)
        deliver = hub._feed._deliver
        hub._feed._deliver = lambda events: (batches.append(len(events)), deliver(events))
        for _ in range(20):
            hub.join(Follower(hub_filter(), hub_caller(hub), limit=10), hub.position)
        tell(database, job_id, "one", "two", "three")
        wait_until(lambda: batches)
    assert batches == [3]


def hub_filter():
    from heimdall_core.notifications.stream import EventFilter

    return EventFilter()


def hub_caller(hub):
    return next(iter(hub._followers[None])).caller


def test_nothing_is_missed_when_the_connection_of_the_reader_breaks(server, database, make_job):
    job_id = make_job("job.queued")
    with server.stream("/v1/events/stream") as stream:
        wait_until(lambda: followers(server) == 1)
        tell(database, job_id, "before")
        assert stream.take(1) == ["before"]
        with database.engine.begin() as connection:
            ended = connection.execute(
                text("select pg_terminate_backend(pid) from pg_stat_activity where application_name = :name"),
                {"name": APPLICATION_NAME},
            ).all()
        assert ended
        tell(database, job_id, "meanwhile")
        assert stream.take(1) == ["meanwhile"]


def test_a_revoked_key_loses_its_streams(client, database):
    key = client.make_key("jobs:read")
    with Server(client, key, key_check_seconds=0.1) as server, server.stream("/v1/events/stream") as stream:
        wait_until(lambda: followers(server) == 1)
        with database.transaction() as session:
            session.execute(update(ApiKey).where(ApiKey.owner == "bob").values(revoked_at=func.now()))
        assert stream.rest() == []
        assert server.client.get("/v1/events/stream").status_code == 401


def test_a_browser_follows_by_its_cookie_until_it_is_signed_out(client, database, make_job):
    key = {"key": client.headers["Authorization"].removeprefix("Bearer ")}
    with Server(client, key_check_seconds=0.1) as server:
        del server.client.headers["Authorization"]
        assert server.client.post("/sign-in", data=key).status_code == 303
        with server.stream("/v1/events/stream") as stream:
            wait_until(lambda: followers(server) == 1)
            make_job("job.queued")
            assert stream.take(1) == ["job.queued"]
            token = server.client.cookies["heimdall_session"]
            signed_out = server.client.post("/sign-out", data={"csrf_token": csrf_token(token)})
            assert signed_out.status_code == 303
            assert stream.rest() == []
        assert server.client.get("/v1/events/stream").status_code == 401


def test_an_idle_stream_is_kept_alive(client):
    with Server(client, keep_alive_seconds=0.05) as server, server.stream("/v1/events/stream") as stream:
        blocks = stream.blocks()
        assert next(blocks)[0].startswith("retry: ")
        assert [next(blocks), next(blocks)] == [[": keep-alive"], [": keep-alive"]]


def test_a_process_has_a_bounded_number_of_streams(client):
    with Server(client, max_streams=1) as server, server.stream("/v1/events/stream"):
        wait_until(lambda: followers(server) == 1)
        refused = server.client.get("/v1/events/stream")
        problem(refused, 503, "too_many_streams")
        assert refused.headers["retry-after"]


def test_open_streams_do_not_hold_up_the_end_of_the_server(client):
    with Server(client) as server, server.stream("/v1/events/stream") as stream:
        wait_until(lambda: followers(server) == 1)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        assert stream.rest() == []


def test_a_follower_that_is_too_far_behind_is_ended(server, database, make_job):
    job_id = make_job("job.queued")
    with server.stream("/v1/events/stream"):
        wait_until(lambda: followers(server) == 1)
        hub = server.app.state.events
        slow = Follower(hub_filter(), hub_caller(hub), limit=2)
        assert hub.join(slow, hub.position)
        tell(database, job_id, "one", "two", "three")
        wait_until(lambda: slow.end is StreamEnd.TOO_SLOW)


def test_a_client_that_reads_nothing_is_given_up(client, database, make_job):
    job_id = make_job("job.queued")
    with Server(client, send_timeout_seconds=0.2) as server, socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect(("127.0.0.1", httpx.URL(server.url).port))
        key = client.headers["authorization"]
        request = f"GET /v1/events/stream HTTP/1.1\r\nHost: api\r\nAuthorization: {key}\r\n\r\n"
        unread.sendall(request.encode())
        wait_until(lambda: followers(server) == 1)
        with database.transaction() as session:
            job = session.get_one(Job, job_id)
            for _ in range(8):
                record_event(session, job, "large", text="x" * 1_000_000)
        wait_until(lambda: followers(server) == 0)
