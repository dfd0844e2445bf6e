"""Schedules against the real database: one job for an occasion, none without need, and a word for each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from structlog.testing import capture_logs

from heimdall_core.database.catalogue_tables import Model
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Job, RetrainRequest
from heimdall_core.database.schedule_tables import DriftScore, Schedule
from heimdall_core.datasets.definition import DatasetDefinition, SplitSpec
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.domain.errors import Conflict, InvalidRequest, NotFound
from heimdall_core.domain.spec import DatasetRef, ModelSpec, TrainJobSpec
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model
from heimdall_core.scheduling.conditions import (
    CronCondition,
    DriftCondition,
    NewSessionsCondition,
    RetrainWish,
)
from heimdall_core.scheduling.drift import KEPT_SCORES, NewScore, record_score
from heimdall_core.scheduling.running import ScheduledRun, Stores, due_schedules, run_if_due, run_now
from heimdall_core.scheduling.schedules import ScheduleWish, change_schedule, create_schedule
from heimdall_core.settings import PromotionSettings, Settings
from heimdall_core.storage import S3Store
from tests.integration.recorded_sessions import BUCKET, RAW_BUCKET, StoreThatRefuses, add_sessions
from worker.control import ControlPlane
from worker.reaper_hold import ReaperHold
from worker.schedules import run_schedules

HOURLY = CronCondition(type="cron", expression="0 * * * *")


class CountedHints:
    """Counts the hints and sends none."""

    num_hints = 0

    def hint(self) -> None:
        self.num_hints += 1


@pytest.fixture
def champion(database: Database, store: S3Store) -> str:
    """The job of a champion that was trained on all that is approved."""
    add_sessions(database, range(10))
    definition = DatasetDefinition(name="northwest", split=SplitSpec(strategy="source"))
    where = {"store": store, "bucket": BUCKET, "raw_bucket": RAW_BUCKET}
    spec = TrainJobSpec(kind="train", dataset=DatasetRef(name="northwest"), model=ModelSpec(backbone="micro"))
    result = {
        "metrics": {"median_error_m": 1000.0, "nll_per_m2": 17.0, "coverage_68": 0.68},
        "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
        "verification": {"passed": True},
        "dataset": {"name": "northwest", "version": 1},
    }
    gate = Gate(policy=PromotionSettings(), store=store)
    with database.transaction() as session:
        freeze_dataset(session, definition, created_by="ann", **where)  # type: ignore[arg-type]
        job = submit_job(session, spec, owner="ann")
        publish_model(session, job=job, name="localization", result=result, promote="if_better", gate=gate)
        job_id = job.id
    end(database, job_id)
    return job_id


@pytest.fixture
def stores(store: S3Store) -> Stores:
    return Stores(store=store, bucket=BUCKET, raw_bucket=RAW_BUCKET)


@pytest.fixture
def make(database: Database, champion: str) -> Callable[..., str]:
    def make_schedule(when: Any = HOURLY, **options: Any) -> str:
        options = {"retrain": RetrainWish(reason="weekly"), "enabled": True} | options
        with database.transaction() as session:
            return create_schedule(
                session,
                owner="service",
                name="weekly",
                model="localization",
                when=when,
                **{"min_interval_seconds": 0, **options},
            ).id

    return make_schedule


def end(database: Database, job_id: str | None) -> None:
    ended = {"status": "succeeded", "started_at": func.now(), "finished_at": func.now()}
    with database.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**ended))


def make_due(database: Database, schedule_id: str, *, late: timedelta = timedelta(0)) -> None:
    """Moves the next run to the present, or to so long ago."""
    with database.transaction() as session:
        moment = func.now() - late
        values = {"next_run_at": moment, "occurrence_at": moment}
        session.execute(update(Schedule).where(Schedule.id == schedule_id).values(**values))


def run(database: Database, schedule_id: str, stores: Stores) -> ScheduledRun | None:
    with database.transaction() as session:
        return run_if_due(session, schedule_id, stores)


def read(database: Database, schedule_id: str) -> Schedule:
    with database.transaction() as session:
        return session.get_one(Schedule, schedule_id)


def now_of(database: Database) -> datetime:
    with database.transaction() as session:
        return session.execute(select(func.now())).scalar_one()


def count(database: Database, table: type) -> int:
    with database.transaction() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


def score(database: Database, value: float, *, minutes: float | None = None, source: str = "") -> int:
    """Posts a score that was observed so many minutes ago; how many schedules are due by it."""
    with database.transaction() as session:
        at = None if minutes is None else session.execute(select(func.now())).scalar_one()
        observed_at = None if at is None or minutes is None else at - timedelta(minutes=minutes)
        new = NewScore(
            model="localization", score=value, observed_at=observed_at, source=source, created_by="service"
        )
        return len(record_score(session, new).due)


def test_a_schedule_of_a_model_that_is_not_there_is_refused(
    make: Callable[..., str], database: Database
) -> None:
    with database.transaction() as session, pytest.raises(NotFound, match="model"):
        create_schedule(
            session,
            owner="service",
            name="x",
            model="elsewhere",
            when=HOURLY,
            retrain=RetrainWish(reason="x"),
            enabled=True,
            min_interval_seconds=0,
        )


def test_what_a_retraining_cannot_override_is_refused_when_the_schedule_is_made(
    make: Callable[..., str],
) -> None:
    wish = RetrainWish(reason="x", overrides={"not_before": "2026-01-01T00:00:00Z"})
    with pytest.raises(InvalidRequest) as refused:
        make(retrain=wish)
    assert [one.pointer for one in refused.value.problems] == ["/retrain/overrides/not_before"]


def test_nothing_is_due_before_its_time(make: Callable[..., str], database: Database, stores: Stores) -> None:
    schedule_id = make()
    with database.transaction() as session:
        assert list(due_schedules(session, limit=10)) == []
    assert run(database, schedule_id, stores) is None
    planned = read(database, schedule_id)
    assert planned.next_run_at == planned.occurrence_at
    assert planned.next_run_at is not None
    assert timedelta(0) < planned.next_run_at - now_of(database) <= timedelta(hours=1)


def test_a_disabled_schedule_is_never_due_and_counts_from_its_waking(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(enabled=False)
    make_due(database, schedule_id, late=timedelta(minutes=1))
    assert run(database, schedule_id, stores) is None
    with database.transaction() as session:
        row = session.get_one(Schedule, schedule_id)
        change_schedule(session, row, ScheduleWish(enabled=True))
    woken = read(database, schedule_id)
    assert woken.next_run_at is not None
    assert woken.next_run_at > now_of(database)


def test_a_model_that_is_gone_is_told_and_the_schedule_goes_on(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make()
    with database.transaction() as session:
        session.execute(update(Schedule).values(model="withdrawn"))
    make_due(database, schedule_id)
    assert run(database, schedule_id, stores)
    told = read(database, schedule_id)
    assert told.last_outcome is not None
    assert (told.last_outcome["outcome"], told.last_outcome["code"]) == ("refused", "model_not_found")
    assert told.next_run_at is not None
    assert told.next_run_at > now_of(database)


def test_without_anything_new_a_run_is_skipped_and_says_so(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make()
    make_due(database, schedule_id)
    assert run(database, schedule_id, stores)
    told = read(database, schedule_id)
    assert told.last_outcome is not None
    assert (told.last_outcome["outcome"], told.last_outcome["code"]) == ("skipped", "nothing_new")
    assert told.last_run_at is None
    assert count(database, Job) == 1


def test_a_store_that_is_away_postpones_the_same_occasion(
    make: Callable[..., str], database: Database, settings: Settings, stores: Stores
) -> None:
    schedule_id = make()
    add_sessions(database, range(10, 12))
    make_due(database, schedule_id)
    occasion = read(database, schedule_id).occurrence_at
    away = Stores(store=StoreThatRefuses(settings.storage), bucket=BUCKET, raw_bucket=RAW_BUCKET)
    refused = run(database, schedule_id, away)
    assert refused is not None
    assert refused.code == "storage_unavailable"
    told = read(database, schedule_id)
    assert told.occurrence_at == occasion
    assert told.next_run_at is not None
    assert timedelta(0) < told.next_run_at - now_of(database) <= timedelta(minutes=1)


def test_a_run_queues_a_job_of_the_owner(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(retrain=RetrainWish(reason="weekly", promote="never", overrides={"priority": "low"}))
    add_sessions(database, range(10, 12))
    make_due(database, schedule_id)
    found = run(database, schedule_id, stores)
    assert found is not None
    with database.transaction() as session:
        job = session.get_one(Job, found.job_id)
    assert (job.owner, job.priority, job.spec["register"]["promote"]) == ("service", "low", "never")
    told = read(database, schedule_id)
    assert told.last_outcome is not None
    assert (told.last_outcome["outcome"], told.job_id) == ("queued", job.id)
    assert told.next_run_at is not None
    assert told.next_run_at > now_of(database)


def test_two_ticks_at_once_make_one_job(make: Callable[..., str], database: Database, stores: Stores) -> None:
    schedule_id = make()
    add_sessions(database, range(10, 12))
    make_due(database, schedule_id)
    start = Barrier(4)

    def tick(_: int) -> ScheduledRun | None:
        start.wait(timeout=30)
        return run(database, schedule_id, stores)

    with ThreadPoolExecutor(4) as pool:
        found = [one for one in pool.map(tick, range(4)) if one is not None]
    assert len(found) == 1
    assert count(database, Job) == 2
    assert count(database, RetrainRequest) == 1


def test_an_occasion_that_is_tried_again_has_the_job_that_it_had(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make()
    add_sessions(database, range(10, 12))
    make_due(database, schedule_id)
    occasion = read(database, schedule_id).occurrence_at
    first = run(database, schedule_id, stores)
    assert first is not None
    end(database, first.job_id)
    with database.transaction() as session:
        session.execute(
            update(Schedule).values(next_run_at=func.now(), occurrence_at=occasion, last_run_at=None)
        )
    again = run(database, schedule_id, stores)
    assert again is not None
    assert again.job_id == first.job_id
    assert count(database, Job) == 2


def test_while_its_job_runs_no_other_is_queued(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(retrain=RetrainWish(reason="weekly", force=True))
    make_due(database, schedule_id)
    first = run(database, schedule_id, stores)
    assert first is not None
    make_due(database, schedule_id)
    skipped = run(database, schedule_id, stores)
    assert skipped is not None
    assert skipped.code == "still_running"
    with database.transaction() as session, pytest.raises(Conflict, match="has not ended"):
        run_now(session, session.get_one(Schedule, schedule_id), stores)
    end(database, first.job_id)
    make_due(database, schedule_id)
    second = run(database, schedule_id, stores)
    assert second is not None
    assert second.job_id not in {None, first.job_id}


def test_within_the_cool_down_a_run_is_skipped_unless_somebody_asks(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(retrain=RetrainWish(reason="weekly", force=True), min_interval_seconds=3600)
    make_due(database, schedule_id)
    first = run(database, schedule_id, stores)
    assert first is not None
    end(database, first.job_id)
    make_due(database, schedule_id)
    skipped = run(database, schedule_id, stores)
    assert skipped is not None
    assert skipped.code == "cooling_down"
    with database.transaction() as session:
        asked = run_now(session, session.get_one(Schedule, schedule_id), stores)
    assert asked.job_id not in {None, first.job_id}


@pytest.mark.parametrize(("catch_up", "code"), [("skip", "missed"), ("once", None)])
def test_runs_that_nobody_was_there_for_are_left_out_or_made_up_for_by_one(
    make: Callable[..., str], database: Database, stores: Stores, catch_up: Any, code: str | None
) -> None:
    when = CronCondition(type="cron", expression="*/10 * * * *", catch_up=catch_up)
    schedule_id = make(when, retrain=RetrainWish(reason="weekly", force=True))
    make_due(database, schedule_id, late=timedelta(days=3))
    found = run(database, schedule_id, stores)
    assert found is not None
    assert found.code == code
    assert count(database, Job) == (1 if code else 2)
    planned = read(database, schedule_id).next_run_at
    assert planned is not None
    assert timedelta(0) < planned - now_of(database) <= timedelta(minutes=10)
    assert run(database, schedule_id, stores) is None


def test_new_sessions_start_a_run_once_there_are_enough_and_the_next_counts_anew(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(NewSessionsCondition(type="new_sessions", sessions=3))
    assert run(database, schedule_id, stores) is None
    add_sessions(database, range(10, 12))
    make_due(database, schedule_id)
    assert run(database, schedule_id, stores) is None
    assert read(database, schedule_id).last_outcome is None
    add_sessions(database, range(12, 13))
    make_due(database, schedule_id)
    found = run(database, schedule_id, stores)
    assert found is not None
    assert found.job_id is not None
    end(database, found.job_id)
    make_due(database, schedule_id)
    assert run(database, schedule_id, stores) is None
    add_sessions(database, range(13, 16))
    make_due(database, schedule_id)
    second = run(database, schedule_id, stores)
    assert second is not None
    assert second.job_id not in {None, found.job_id}


def test_without_a_champion_waiting_for_sessions_says_what_is_missing(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(NewSessionsCondition(type="new_sessions", sessions=3))
    with database.transaction() as session:
        session.execute(update(Model).values(champion_version=None))
    found = run(database, schedule_id, stores)
    assert found is not None
    assert found.code == "no_champion"


def test_drift_is_so_many_scores_in_a_row(
    make: Callable[..., str], database: Database, stores: Stores
) -> None:
    schedule_id = make(
        DriftCondition(type="drift", threshold=0.5, consecutive=3),
        retrain=RetrainWish(reason="drift", force=True),
    )
    assert [score(database, value) for value in (0.9, 0.5, 0.4, 0.6, 0.6)] == [0, 0, 0, 0, 0]
    assert run(database, schedule_id, stores) is None
    assert score(database, 0.7) == 1
    found = run(database, schedule_id, stores)
    assert found is not None
    assert found.job_id is not None
    end(database, found.job_id)
    assert [score(database, 0.9) for _ in range(3)] == [0, 0, 1]


def test_a_late_score_takes_its_place_in_time_and_a_repeated_one_counts_once(
    make: Callable[..., str], database: Database
) -> None:
    make(DriftCondition(type="drift", threshold=0.5, consecutive=2))
    assert score(database, 0.9, minutes=10) == 0
    assert score(database, 0.1, minutes=20) == 0
    assert score(database, 0.9, minutes=30) == 0
    assert score(database, 0.9, minutes=5) == 1
    at = datetime(2026, 1, 1, tzinfo=UTC)
    new = {"model": "localization", "observed_at": at, "source": "a", "created_by": "service"}
    with database.transaction() as session:
        first = record_score(session, NewScore(score=0.3, **new))  # type: ignore[arg-type]
        assert record_score(session, NewScore(score=0.3, **new)).row.id == first.row.id  # type: ignore[arg-type]
    with database.transaction() as session, pytest.raises(Conflict, match=r"has said 0\.3"):
        record_score(session, NewScore(score=0.4, **new))  # type: ignore[arg-type]


def test_a_score_of_the_future_is_refused(make: Callable[..., str], database: Database) -> None:
    with pytest.raises(InvalidRequest, match="has not come yet"):
        score(database, 0.9, minutes=-10)


def test_only_scores_of_the_source_that_is_named_count(make: Callable[..., str], database: Database) -> None:
    make(DriftCondition(type="drift", threshold=0.5, consecutive=2, source="a"))
    found = [score(database, value, source=source) for value, source in [(0.9, "a"), (0.1, "b"), (0.9, "a")]]
    assert found == [0, 0, 1]


def test_drift_within_the_cool_down_waits_for_its_end_and_is_forgotten_if_it_passes(
    make: Callable[..., str], database: Database
) -> None:
    schedule_id = make(DriftCondition(type="drift", threshold=0.5), min_interval_seconds=3600)
    with database.transaction() as session:
        session.execute(update(Schedule).values(last_run_at=func.now()))
    score(database, 0.9)
    planned = read(database, schedule_id).next_run_at
    assert planned is not None
    assert planned - now_of(database) > timedelta(minutes=59)
    score(database, 0.1)
    assert read(database, schedule_id).next_run_at is None


def test_of_each_model_the_newest_scores_are_kept(make: Callable[..., str], database: Database) -> None:
    old = (
        "insert into training.drift_score (id, model, score, observed_at, source, created_by) "
        "select 'drs_' || n, 'localization', 0, now() - n * interval '1 hour', '', 'x' "
        "from generate_series(1, 1100) n"
    )
    with database.transaction() as session:
        session.execute(text(old))
    score(database, 0.1)
    assert count(database, DriftScore) == KEPT_SCORES


def test_one_schedule_that_breaks_keeps_no_other_from_running(
    make: Callable[..., str], database: Database, settings: Settings
) -> None:
    broken, sound = make(), make(retrain=RetrainWish(reason="weekly", force=True))
    with database.transaction() as session:
        session.execute(update(Schedule).where(Schedule.id == broken).values(condition={"type": "moon"}))
    for schedule_id in (broken, sound):
        make_due(database, schedule_id)
    hints = CountedHints()
    plane = ControlPlane(
        database=database,
        hints=hints,  # type: ignore[arg-type]
        settings=settings,
        hold=ReaperHold(60.0),
    )
    with capture_logs() as logs:
        run_schedules(plane)
    assert hints.num_hints == 1
    assert read(database, sound).job_id is not None
    assert [log["schedule_id"] for log in logs if log["event"] == "schedule_failed"] == [broken]


def test_what_is_due_is_found_by_its_index(make: Callable[..., str], database: Database) -> None:
    with database.transaction() as session:
        session.execute(text("set local enable_seqscan = off"))
        plan = session.scalars(
            text(
                "explain select id from training.schedule where enabled and next_run_at <= now() "
                "order by next_run_at limit 100"
            )
        ).all()
    assert "ix_schedule_due" in " ".join(plan)
