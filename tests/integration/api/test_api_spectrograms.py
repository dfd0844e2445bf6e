"""Spectrograms over HTTP, made by real children of a fork server: what goes wrong is told, nothing is stuck."""

import signal
import threading
import time
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import func, insert, update

from api.spectrograms import OVERDUE_SECONDS, AskedFor
from heimdall_client.documents.data import Spectrogram
from heimdall_core.database.job_tables import Worker
from heimdall_core.database.platform_tables import Measurement
from heimdall_core.domain.spectrograms import folder_uri
from worker.retention import delete_old_spectrograms
from worker.spectrograms import SpectrogramMaker
from worker.supervision import Host
from worker.trainers import ForkServer


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def fork_server(engines_environment, module_folder):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (engines_environment | {"HEIMDALL_HOME": str(module_folder)}).items():
            patch.setenv(name, value)
        server = ForkServer(preload=("heimdall_core.features.session_spectrogram", "worker.job_kinds"))
        server.start()
        assert server.wait_ready(120)
        yield server
        server.close()


@pytest.fixture
def make_worker(database, store, settings, fork_server):
    """A worker that is alive, and makes what it is asked for."""
    made = []

    def make(**options):
        with database.transaction() as session:
            facts = {"host": "tests", "boot_id": "boot", "pid": 1, "slots": 1, "accelerator": "cpu"}
            session.execute(insert(Worker).values(name="worker@tests", **facts))
        host = Host(
            database=database,
            store=store,
            fork_server=fork_server,
            settings=settings,
            shutdown=threading.Event(),
        )
        maker = SpectrogramMaker(host, **options)
        maker.start()
        made.append(maker)
        return maker

    yield make
    for maker in made:
        maker.close()


@pytest.fixture
def session_id(client):
    client.import_sessions([0])
    (session,) = client.get("/v1/recording-sessions").json()["data"]
    return session["id"]


@pytest.fixture
def clock(app):
    """Of what the api remembers to have asked for."""
    clock = Clock()
    app.state.spectrograms._asked = AskedFor(clock)
    return clock


def path_of(session_id):
    return f"/v1/recording-sessions/{session_id}/spectrogram"


def hand_over(maker, hints):
    """Delivers the messages."""
    wanted, hints.wanted[:] = list(hints.wanted), []
    for one in wanted:
        maker.ask(*one)


def wait_for(client, path, *, seconds=30.0):
    """The first answer that says more than that it is being made."""
    deadline = time.monotonic() + seconds
    while (answer := client.get(path)).status_code == 202:
        assert time.monotonic() < deadline, "it is not made"
        time.sleep(0.02)
    return answer


def age_failures(client):
    """Moves the failures in the store a century into the past."""
    for uri in client.store.list_sizes(folder_uri(client.settings.storage.models_bucket)):
        data = client.store.get_bytes(uri)
        client.store.put_bytes(uri, data.replace(b'"failed_at":"20', b'"failed_at":"19'))


def test_without_a_worker_it_says_so_and_asks_nobody(client, hints, session_id):
    answer = client.get(path_of(session_id))
    assert (answer.status_code, answer.json()["code"]) == (503, "no_worker")
    assert answer.headers["retry-after"]
    assert hints.wanted == []


def test_a_worker_that_was_last_seen_long_ago_is_none(client, make_worker, session_id):
    make_worker()
    with client.database.transaction() as session:
        session.execute(update(Worker).values(last_seen_at=func.now() - func.make_interval(0, 0, 0, 1)))
    assert client.get(path_of(session_id)).json()["code"] == "no_worker"


def test_a_session_that_does_not_exist_is_not_found(client):
    answer = client.get(path_of("00000000-0000-0000-0000-000000000000"))
    assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")


def test_a_segment_is_a_number_that_is_not_negative(client, session_id):
    answer = client.get(path_of(session_id), params={"segment": -1})
    assert answer.status_code == 422


def test_it_needs_the_right_to_read_recordings(client, session_id):
    path = path_of(session_id)
    assert client.get(path, headers=client.make_key("jobs:read")).status_code == 403
    assert client.get(path, headers=client.make_key("recordings:read")).json()["code"] == "no_worker"


def test_a_session_that_could_not_train_is_refused_with_the_reason(client, make_worker, session_id):
    make_worker()
    with client.database.transaction() as session:
        session.execute(update(Measurement).values(iq_num_bytes=None))
    answer = client.get(path_of(session_id))
    assert (answer.status_code, answer.json()["code"]) == (422, "recording_unreadable")
    assert "no recording has a location, checksum, byte range" in answer.json()["detail"]


def test_however_often_it_is_asked_for_it_is_made_once(client, hints, make_worker, clock, session_id):
    maker, path = make_worker(), path_of(session_id)
    for _ in range(20):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (202, {"status": "pending"})
        assert answer.headers["retry-after"] == "1"
    assert hints.wanted == [(UUID(session_id), 0)]
    hand_over(maker, hints)
    answer = wait_for(client, path)
    assert answer.status_code == 200, answer.text
    found = Spectrogram.model_validate(answer.json())
    assert [r.receiver for r in found.receivers] == ["aosta", "genoa", "turin"]
    assert (len(found.frequency_hz), len(found.time_seconds), found.num_segments) == (120, 32, 2)
    assert {len(r.over_floor_db) for r in found.receivers} == {120}
    assert client.get(path, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert hints.wanted == []


def test_no_connection_waits_for_the_object_store(client, app, make_worker, session_id, monkeypatch):
    make_worker()
    services, held = app.state.services, []
    get_bytes = services.store.get_bytes

    def read(uri):
        held.append(services.database.engine.pool.checkedout())
        return get_bytes(uri)

    monkeypatch.setattr(services.store, "get_bytes", read)
    assert client.get(path_of(session_id)).status_code == 202
    assert held == [0]


def test_a_request_that_was_lost_is_made_again(client, hints, make_worker, clock, session_id):
    make_worker()
    path = path_of(session_id)
    client.get(path)
    clock.now += 6.0
    client.get(path)
    assert len(hints.wanted) == 2
    clock.now += OVERDUE_SECONDS
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "spectrogram_overdue")
    assert len(hints.wanted) == 3, "who comes back is served once a worker hears of it"


def test_a_segment_beyond_the_end_is_not_found(client, hints, make_worker, session_id):
    maker, path = make_worker(), path_of(session_id) + "?segment=2"
    client.get(path)
    hand_over(maker, hints)
    answer = wait_for(client, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "segment_not_found")


def test_recordings_that_are_gone_are_told_and_looked_for_again_later(client, hints, make_worker, session_id):
    maker, path = make_worker(), path_of(session_id)
    with client.database.transaction() as session:
        (location,) = {m.iq_data_location for m in session.query(Measurement)}
    data = client.store.get_bytes(location)
    client.store.delete(location)
    client.get(path)
    hand_over(maker, hints)
    answer = wait_for(client, path)
    assert (answer.status_code, answer.json()["code"]) == (422, "recording_unreadable")
    assert "object_gone" in answer.json()["detail"]
    client.store.put_bytes(location, data)
    assert client.get(path).status_code == 422, "not asked again at once"
    age_failures(client)
    assert client.get(path).status_code == 202
    hand_over(maker, hints)
    assert wait_for(client, path).status_code == 200


def test_a_child_that_takes_too_long_is_ended_and_the_next_one_is_served(
    client, hints, make_worker, session_id
):
    slow = make_worker(limit_seconds=0.0)
    path = path_of(session_id)
    client.get(path)
    hand_over(slow, hints)
    answer = wait_for(client, path)
    assert (answer.status_code, answer.json()["code"]) == (503, "spectrogram_failed")
    assert "spectrogram_too_slow" in answer.json()["detail"]
    client.get(path + "?segment=1")
    hand_over(slow, hints)
    assert wait_for(client, path + "?segment=1").json()["code"] == "spectrogram_failed"


def test_a_child_that_is_killed_is_told(client, hints, make_worker, fork_server, monkeypatch, session_id):
    maker, path = make_worker(), path_of(session_id)
    spawn = fork_server.spawn

    def spawn_and_kill():
        child = spawn()
        child.signal_group(signal.SIGKILL)
        return child

    monkeypatch.setattr(fork_server, "spawn", spawn_and_kill)
    client.get(path)
    hand_over(maker, hints)
    answer = wait_for(client, path)
    assert (answer.status_code, answer.json()["code"]) == (503, "spectrogram_failed")
    assert "trainer_killed" in answer.json()["detail"]


def test_a_worker_forgets_what_is_too_much_and_ignores_what_is_nothing(make_worker):
    maker = make_worker()
    unknown = UUID("00000000-0000-0000-0000-000000000000")
    for segment in range(1000):
        maker.ask(unknown, segment)
    maker.close()
    assert not maker._thread.is_alive()


def test_those_of_former_months_are_swept(client, store):
    bucket = client.settings.storage.models_bucket
    old, new = f"{folder_uri(bucket)}2020-01/a.json", f"{folder_uri(bucket)}2020-03/a.json"
    for uri in (old, new):
        store.put_bytes(uri, b"{}")
    assert delete_old_spectrograms(store, bucket=bucket, now=datetime(2020, 3, 5, tzinfo=UTC)) >= 1
    left = store.list_sizes(folder_uri(bucket))
    assert (old in left, new in left) == (False, True)
    store.delete(new)
