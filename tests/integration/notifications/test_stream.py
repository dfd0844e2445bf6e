"""One stream of events: ids that become visible in their order, whatever order transactions end in."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import delete, select, text

from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, JobEvent
from heimdall_core.database.notification_tables import Event
from heimdall_core.jobs.events import record_event
from heimdall_core.notifications.stream import (
    EventFilter,
    StreamEvent,
    last_event_number,
    of_job,
    read_events,
)
from heimdall_core.registry.events import ModelEventKind, record_model_event

MakeJob = Callable[..., str]
Record = Callable[..., None]
EVERYTHING = EventFilter()


def read(database: Database, wanted: EventFilter = EVERYTHING, *, after: int = 0) -> list[StreamEvent]:
    with database.transaction() as session:
        return read_events(session, wanted, after=after, limit=1000)


def names(events: list[StreamEvent]) -> list[str]:
    return [event.name for event in events]


def promote(database: Database, model: str) -> None:
    with database.transaction() as session:
        record_model_event(
            session, ModelEventKind.PROMOTED, model=model, version=2, former_version=1, actor="ann"
        )


def test_an_event_whose_transaction_ends_late_gets_a_late_id(database: Database, make_job: MakeJob) -> None:
    job_id = make_job()
    with database.transaction() as slow:
        record_event(slow, slow.get_one(Job, job_id), "slow")
        slow.flush()
        with database.transaction() as fast:
            record_event(fast, fast.get_one(Job, job_id), "fast")
        (seen,) = read(database)
        assert seen.name == "fast"
    (late,) = read(database, after=seen.id)
    assert late.name == "slow"
    with database.transaction() as session:
        assert session.scalars(select(JobEvent.name).order_by(JobEvent.id)).all() == ["slow", "fast"]


def test_a_commit_waits_for_the_one_before_it_to_be_visible(database: Database, make_job: MakeJob) -> None:
    """Between its id and its commit a transaction is held up by a lock of the test; nobody may overtake it."""
    job_id, committing = make_job(), threading.Event()
    blocker = database.engine.connect()
    blocker.execute(text("select pg_advisory_lock(4711)"))

    def commit_slowly() -> None:
        with database.transaction() as session:
            record_event(session, session.get_one(Job, job_id), "first")
            session.flush()
            session.execute(text("set constraints all immediate"))  # its id is drawn now
            committing.set()
            session.execute(text("select pg_advisory_xact_lock(4711)"))

    def commit_at_once() -> None:
        with database.transaction() as session:
            record_event(session, session.get_one(Job, job_id), "second")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit_slowly)
        assert committing.wait(10)
        second = pool.submit(commit_at_once)
        assert wait_for_waiter(database), "the second waits for the first"
        assert not read(database)
        blocker.execute(text("select pg_advisory_unlock(4711)"))
        first.result(timeout=10)
        second.result(timeout=10)
    blocker.close()
    assert names(read(database)) == ["first", "second"]


def wait_for_waiter(database: Database) -> bool:
    """Until two sessions wait for advisory locks: one for the test's, one for the stream's."""
    waiting = text("select count(*) from pg_locks where locktype = 'advisory' and not granted")
    for _ in range(1000):
        with database.engine.connect() as connection:
            if connection.execute(waiting).scalar_one() == 2:
                return True
    return False


def test_no_reader_who_goes_on_from_the_last_id_misses_one_of_many_writers(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    job_ids = [make_job() for _ in range(4)]
    done = threading.Event()

    def write(job_id: str) -> None:
        for number in range(25):
            record(job_id, f"event.{number}", "twin")

    def follow() -> list[StreamEvent]:
        found: list[StreamEvent] = []
        while True:
            was_done = done.is_set()
            found += read(database, after=found[-1].id if found else 0)
            if was_done:
                return found

    with ThreadPoolExecutor(5) as pool:
        follower = pool.submit(follow)
        for writer in [pool.submit(write, job_id) for job_id in job_ids]:
            writer.result(timeout=60)
        done.set()
        seen = follower.result(timeout=60)
    assert [event.id for event in seen] == [event.id for event in read(database)]
    for job_id in job_ids:
        told = [event.name for event in seen if event.job_id == job_id]
        assert told == [name for number in range(25) for name in (f"event.{number}", "twin")]


def test_what_is_rolled_back_is_not_told(database: Database, make_job: MakeJob) -> None:
    job_id = make_job()
    with database.transaction() as session:
        record_event(session, session.get_one(Job, job_id), "never")
        session.flush()
        session.rollback()
    assert read(database) == []


def test_events_of_jobs_and_models_share_one_order(
    database: Database, make_job: MakeJob, record: Record, model: str
) -> None:
    job_id = make_job()
    record(job_id, "job.queued", reason="why")
    promote(database, model)
    record(job_id, "job.succeeded")
    events = read(database)
    assert names(events) == ["job.queued", "model.promoted", "job.succeeded"]
    assert events[0].id < events[1].id < events[2].id
    assert events[0].data == {"reason": "why"}
    assert (events[0].job_kind, events[0].owner, events[0].model) == ("train", "ann", "north")
    assert events[1].data["version"] == 2
    assert (events[1].owner, events[1].job_id, events[1].is_of_job) == (None, None, False)
    assert [event.ends_job for event in events] == [False, False, True]


FILTERS = [
    EventFilter(),
    EventFilter(owner="ann"),
    EventFilter(owner="eve"),
    EventFilter(models_too=False),
    EventFilter(owner="bob", models_too=False),
    EventFilter(names=("job.*",)),
    EventFilter(names=("job_*",)),
    EventFilter(names=("*",), kinds=("export",)),
    EventFilter(names=("job.queued", "model.promoted")),
    EventFilter(kinds=("train", "export")),
    EventFilter(model="south"),
    EventFilter(model="north", owner="bob"),
]


def test_a_filter_means_the_same_in_memory_and_in_the_database(
    database: Database, make_job: MakeJob, record: Record, model: str
) -> None:
    record(make_job("ann"), "job.queued", "jobs")
    record(make_job("bob", kind="export", model="south"), "job.queued", "job_odd")
    promote(database, model)
    everything = read(database)
    assert len(everything) == 5
    for wanted in FILTERS:
        assert read(database, wanted) == [event for event in everything if wanted.matches(event)], wanted
    assert names(read(database, EventFilter(names=("job_*",)))) == ["job_odd"]


def test_a_jobs_history_leaves_out_other_jobs_and_models(
    database: Database, make_job: MakeJob, record: Record, model: str
) -> None:
    job_id = make_job()
    record(make_job(), "job.queued")
    record(job_id, "job.queued")
    promote(database, model)
    assert [event.job_id for event in read(database, of_job(job_id))] == [job_id]


def test_an_event_that_is_deleted_leaves_the_stream(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    record(make_job(), "one", "two", "three")
    with database.transaction() as session:
        session.execute(delete(JobEvent).where(JobEvent.name == "two"))
    assert names(read(database)) == ["one", "three"]


def test_the_number_of_the_newest_event_is_known(
    database: Database, make_job: MakeJob, record: Record
) -> None:
    with database.transaction() as session:
        assert last_event_number(session) == 0
    record(make_job(), "one")
    with database.transaction() as session:
        assert last_event_number(session) == session.scalars(select(Event.id)).one()
