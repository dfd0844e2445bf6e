"""Retraining: one job for all who ask while it waits, one answer for each key, nothing for nothing new."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, update

from heimdall_core.database.catalogue_tables import DatasetVersion, Model
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Artifact, Job, RetrainRequest
from heimdall_core.database.platform_tables import RecordingSession
from heimdall_core.datasets.definition import DatasetDefinition, SessionQuery, SplitSpec
from heimdall_core.datasets.freezing import freeze_dataset
from heimdall_core.domain.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    StorageRefused,
    StorageUnavailable,
)
from heimdall_core.domain.spec import (
    DatasetRef,
    ExportJobSpec,
    ExportOutput,
    ExportSource,
    ModelSpec,
    RegisterSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.jobs import finishing
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.finishing import give_back
from heimdall_core.jobs.requests import cancel_job
from heimdall_core.jobs.submission import submit_job
from heimdall_core.registry.promotion import Gate
from heimdall_core.registry.publishing import publish_model
from heimdall_core.retraining import RetrainCall, RetrainOutcome, retrain_model
from heimdall_core.settings import PromotionSettings, Settings
from heimdall_core.storage import S3Store
from tests.integration import recorded_sessions
from tests.integration.histories import list_events
from tests.integration.recorded_sessions import BUCKET, START, StoreThatRefuses

WORKER = WorkerIdentity(name="worker@a", host="a", boot_id="boot", has_gpu=False)
"""Not the one that settings have by default: whoever forgets to pass it on finds nothing."""
CALL = RetrainCall(model="localization", reason="drift", dedupe_key="monday", caller="service")
TRAINING = TrainJobSpec(
    kind="train",
    dataset=DatasetRef(name="northwest"),
    model=ModelSpec(backbone="micro"),
    training=TrainingSpec(epochs=7),
    tags={"site": "giaveno"},
    not_before=datetime(2025, 6, 1, tzinfo=UTC),
)

RAW_BUCKET = "raw-of-the-platform"
add_sessions = partial(recorded_sessions.add_sessions, raw_bucket=RAW_BUCKET)
Retrain = Callable[..., tuple[Job, RetrainOutcome]]


@pytest.fixture
def champion(database: Database, store: S3Store) -> str:
    """The job of a champion that was trained on all that was approved; then more was approved."""
    add_sessions(database, range(10))
    definition = DatasetDefinition(
        name="northwest", query=SessionQuery(), split=SplitSpec(strategy="source", seed=5)
    )
    with database.transaction() as session:
        freeze_dataset(
            session, definition, store=store, bucket=BUCKET, raw_bucket=RAW_BUCKET, created_by="ann"
        )
        job = submit_job(session, TRAINING, owner="ann")
        publish(session, job, store)
        job_id = job.id
    end(database, job_id)
    add_sessions(database, range(10, 13))
    return job_id


def publish(session, job, store, *, promote="if_better"):  # type: ignore[no-untyped-def]
    result = {
        "metrics": {"median_error_m": 1000.0, "nll_per_m2": 17.0, "coverage_68": 0.68},
        "onnx": {"uri": "s3://heimdall-models/x.onnx", "sha256": "1" * 64, "bytes": 7},
        "verification": {"passed": True},
        "dataset": {"name": "northwest", "version": 1},
    }
    gate = Gate(policy=PromotionSettings(), store=store)
    return publish_model(session, job=job, name="localization", result=result, promote=promote, gate=gate)


def end(database: Database, job_id: str) -> None:
    with database.transaction() as session:
        ended = {"status": "succeeded", "finished_at": func.now()}
        session.execute(update(Job).where(Job.id == job_id).values(**ended))


@pytest.fixture
def retrain(database: Database, store: S3Store) -> Retrain:
    """Makes a call, in a transaction of its own."""

    def call(**changes: object) -> tuple[Job, RetrainOutcome]:
        with database.transaction() as session:
            found = retrain_model(
                session, replace(CALL, **changes), store=store, bucket=BUCKET, raw_bucket=RAW_BUCKET
            )  # type: ignore[arg-type]
        return found.job, found.outcome

    return call


def claim(database: Database) -> Claim:
    with database.transaction() as session:
        taken = claim_job(session, WORKER, lease_seconds=60)
    assert taken is not None
    return taken


def events(database: Database, job_id: str, name: str) -> list[dict[str, object]]:
    with database.transaction() as session:
        return [e["data"] for e in list_events(session, job_id) if e["event"] == name]


def count(database: Database, table: type) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_an_unknown_model_is_not_found_and_nothing_is_queued(database: Database, retrain: Retrain) -> None:
    with pytest.raises(NotFound):
        retrain(model="nonsense")
    assert count(database, Job) == count(database, RetrainRequest) == 0


def test_a_model_without_a_champion_is_told_what_to_do(
    database: Database, champion: str, retrain: Retrain
) -> None:
    with database.transaction() as session:
        session.execute(update(Model).values(champion_version=None))
    with pytest.raises(Conflict) as refusal:
        retrain()
    assert (refusal.value.stable_code, bool(refusal.value.hint)) == ("no_champion", True)
    assert count(database, Job) == 1


def test_nothing_new_trains_nothing_unless_it_is_forced(
    database: Database, champion: str, retrain: Retrain
) -> None:
    with database.transaction() as session:
        late = RecordingSession.session_start >= START + timedelta(minutes=10)
        session.execute(update(RecordingSession).where(late).values(approval_status="rejected"))
    with pytest.raises(Conflict) as refusal:
        retrain()
    assert refusal.value.stable_code == "nothing_new"
    assert "force" in str(refusal.value.hint)
    assert count(database, RetrainRequest) == 0, "the key is free for another call"
    job, outcome = retrain(force=True)
    assert outcome is RetrainOutcome.QUEUED
    assert job.spec["dataset"] == {"name": "northwest", "version": 1}


def test_a_dataset_that_can_no_longer_be_frozen_is_no_fault_of_the_request(
    database: Database, champion: str, retrain: Retrain
) -> None:
    with database.transaction() as session:
        session.execute(update(RecordingSession).values(approval_status="rejected"))
    with pytest.raises(Conflict) as refusal:
        retrain()
    assert refusal.value.stable_code == "no_approved_sessions"
    assert refusal.value.hint


def test_a_store_that_refuses_leaves_neither_job_nor_key(
    database: Database, champion: str, settings: Settings, retrain: Retrain
) -> None:
    refusing = StoreThatRefuses(settings.storage)
    with pytest.raises(StorageUnavailable), database.transaction() as session:
        retrain_model(session, CALL, store=refusing, bucket=BUCKET, raw_bucket=RAW_BUCKET)
    assert count(database, Job) == 1
    assert retrain()[1] is RetrainOutcome.QUEUED


def test_the_champions_training_is_queued_on_what_is_approved_now(
    database: Database, champion: str, retrain: Retrain
) -> None:
    job, outcome = retrain(reason="x" * 300)
    assert outcome is RetrainOutcome.QUEUED
    assert (job.kind, job.owner, job.parent_job_id) == ("train", "service", champion)
    assert job.spec["dataset"] == {"name": "northwest", "version": 2}
    assert job.spec["training"]["epochs"] == 7
    assert job.spec["not_before"] is None
    assert job.tags == job.spec["tags"] == {"site": "giaveno", "retrain.reason": "x" * 255}
    with database.transaction() as session:
        frozen = session.get_one(DatasetVersion, ("northwest", 2))
    assert job.inputs["dataset_digest"] == frozen.digest
    assert sum(frozen.counts[split] for split in ("train", "val", "test")) == 13
    assert (frozen.split["strategy"], frozen.split["seed"]) == ("source", 5)
    assert events(database, job.id, "retrain.requested") == [
        {
            "reason": "x" * 300,
            "caller": "service",
            "dedupe_key": "monday",
            "new_sessions": 3,
            "withdrawn_sessions": 0,
            "dataset": "latest",
            "overrides": {},
            "promote": None,
            "warm_start": False,
        }
    ]


def test_below_the_floor_nothing_is_frozen_stored_or_queued(
    database: Database, champion: str, store: S3Store, retrain: Retrain
) -> None:
    floor = replace(CALL, min_new_sessions=4)
    # Nothing of a refusal may be left to a caller that catches it and commits.
    with database.transaction() as session, pytest.raises(Conflict) as refusal:
        retrain_model(session, floor, store=store, bucket=BUCKET, raw_bucket=RAW_BUCKET)
    assert refusal.value.stable_code == "too_few_new_sessions"
    assert "Approve 1 more" in str(refusal.value.hint)
    assert "force" in str(refusal.value.hint)
    assert (count(database, Job), count(database, DatasetVersion), count(database, RetrainRequest)) == (
        1,
        1,
        0,
    )
    assert retrain(min_new_sessions=3)[1] is RetrainOutcome.QUEUED


def test_what_was_withdrawn_is_counted_and_alone_no_reason_to_train_unless_the_floor_is_0(
    database: Database, champion: str, retrain: Retrain
) -> None:
    with database.transaction() as session:
        kept = RecordingSession.session_start.between(
            START + timedelta(minutes=2), START + timedelta(minutes=9)
        )
        session.execute(update(RecordingSession).where(~kept).values(approval_status="rejected"))
    with pytest.raises(Conflict, match=r"0 sessions are new .* 2 are withdrawn"):
        retrain()
    job, _ = retrain(min_new_sessions=0)
    (told,) = events(database, job.id, "retrain.requested")
    assert (told["new_sessions"], told["withdrawn_sessions"]) == (0, 2)


def test_where_the_champions_manifest_is_lost_only_force_trains_and_nothing_is_counted(
    database: Database, champion: str, retrain: Retrain
) -> None:
    with database.transaction() as session:
        gone = {"manifest_uri": f"s3://{BUCKET}/gone.json"}
        session.execute(update(DatasetVersion).values(**gone))
    with pytest.raises(StorageRefused):
        retrain()
    job, _ = retrain(force=True)
    (told,) = events(database, job.id, "retrain.requested")
    assert told["new_sessions"] is None


def test_overrides_are_merged_over_the_champions_training(
    database: Database, champion: str, retrain: Retrain
) -> None:
    overrides = {
        "training": {"learning_rate": 0.01, "early_stopping_patience": None, "epochs": None},
        "model": {"covariance": "full"},
        "tags": {"site": None, "campaign": "spring"},
        "priority": "high",
    }
    job, _ = retrain(overrides=overrides, promote="never")
    assert (job.spec["training"]["learning_rate"], job.spec["training"]["epochs"]) == (0.01, 100)
    assert (job.spec["model"]["backbone"], job.spec["model"]["covariance"]) == ("micro", "full")
    assert job.spec["model"]["name"] == "localization"
    assert job.tags == {"campaign": "spring", "retrain.reason": "drift"}
    assert job.priority == "high"
    assert job.spec["register"] == {"enabled": True, "promote": "never"}


@pytest.mark.parametrize("is_joined", [False, True])
def test_overrides_that_do_not_fit_the_champion_are_refused_though_a_job_waits(
    database: Database, champion: str, retrain: Retrain, is_joined: bool
) -> None:
    if is_joined:
        retrain(dedupe_key="first")
    with pytest.raises(InvalidRequest) as refusal:
        retrain(overrides={"model": {"components": 3, "pretrained": True}})
    assert {problem.pointer for problem in refusal.value.problems} == {"/overrides/model"}
    assert count(database, DatasetVersion) == 1 + is_joined


def test_the_weights_of_the_champion_do_not_fit_another_backbone(
    database: Database, champion: str, retrain: Retrain
) -> None:
    keep_weights(database, champion)
    with pytest.raises(InvalidRequest) as refusal:
        retrain(warm_start=True, overrides={"model": {"backbone": "atto"}})
    assert refusal.value.stable_code == "init_from_does_not_fit"
    assert [problem.pointer for problem in refusal.value.problems] == ["/overrides/model/backbone"]


def test_a_dataset_of_ones_own_is_frozen_and_held_against_the_champions(
    database: Database, champion: str, retrain: Retrain
) -> None:
    query = SessionQuery(started_after=START + timedelta(minutes=5))
    own = DatasetDefinition(name="late", query=query, split=SplitSpec(strategy="source"))
    job, _ = retrain(dataset=own)
    assert job.spec["dataset"] == {"name": "late", "version": 1}
    (told,) = events(database, job.id, "retrain.requested")
    assert (told["new_sessions"], told["withdrawn_sessions"]) == (3, 5)


def test_a_dataset_of_ones_own_that_finds_nothing_is_a_fault_of_the_request(
    database: Database, champion: str, retrain: Retrain
) -> None:
    own = DatasetDefinition(name="late", query=SessionQuery(started_after=START + timedelta(days=5)))
    with pytest.raises(InvalidRequest) as refusal:
        retrain(dataset=own)
    assert [problem.pointer for problem in refusal.value.problems] == ["/dataset/query"]


def test_a_call_that_joins_is_told_what_of_its_wish_is_left_undone(
    database: Database, champion: str, store: S3Store, retrain: Retrain
) -> None:
    first, _ = retrain(overrides={"training": {"epochs": 3}})
    own = DatasetDefinition(name="late", split=SplitSpec(strategy="source"))
    calls = [
        ({"overrides": {"training": {"epochs": 3}}, "promote": "if_better"}, ()),
        ({}, ("overrides",)),
        (
            {"dataset": own, "promote": "never", "warm_start": True},
            ("dataset", "overrides", "promote", "warm_start"),
        ),
    ]
    for number, (changes, left) in enumerate(calls):
        call = replace(CALL, dedupe_key=f"other {number}", **changes)  # type: ignore[arg-type]
        with database.transaction() as session:
            found = retrain_model(session, call, store=store, bucket=BUCKET, raw_bucket=RAW_BUCKET)
        assert (found.job.id, found.left_as_it_is, found.new_sessions) == (first.id, left, 3)
        assert found.job.spec == first.spec
    told = events(database, first.id, "retrain.joined")
    assert [event.get("left_as_it_is", []) for event in told] == [list(left) for _, left in calls]


def test_a_retraining_may_start_from_the_champions_weights(
    database: Database, champion: str, retrain: Retrain
) -> None:
    keep_weights(database, champion)
    job, _ = retrain(warm_start=True)
    assert job.spec["init_from"] == {"name": "localization", "version": 1}
    assert job.inputs["init_weights"]["uri"] == "s3://heimdall-models/w"
    assert job.spec["training"]["epochs"] == 7


def test_without_the_champions_weights_a_warm_start_is_refused(
    database: Database, champion: str, retrain: Retrain
) -> None:
    with pytest.raises(Conflict, match=r"kept no best\.ckpt"):
        retrain(warm_start=True)
    assert count(database, Job) == 1


def keep_weights(database: Database, job_id: str) -> None:
    stored = {"uri": "s3://heimdall-models/w", "sha256": "0" * 64, "num_bytes": 1, "media_type": ""}
    with database.transaction() as session:
        weights = Artifact(
            id="art_1", job_id=job_id, attempt=1, name="best.ckpt", kind="checkpoint", **stored
        )
        session.add(weights)


def test_sessions_that_wait_for_approval_do_not_count(
    database: Database, champion: str, retrain: Retrain
) -> None:
    add_sessions(database, range(13, 15), approval_status="pending")
    retrain()
    with database.transaction() as session:
        frozen = session.get_one(DatasetVersion, ("northwest", 2))
    assert sum(frozen.counts[split] for split in ("train", "val", "test")) == 13


def test_a_champion_that_was_exported_again_is_trained_and_exported_as_it_was(
    database: Database, champion: str, store: S3Store, retrain: Retrain
) -> None:
    with database.transaction() as session:
        weights = {"uri": "s3://heimdall-models/w", "sha256": "0" * 64, "num_bytes": 1}
        session.add(
            Artifact(
                id="art_1",
                job_id=champion,
                attempt=1,
                name="best.ckpt",
                kind="checkpoint",
                media_type="",
                **weights,
            )
        )
        spec = ExportJobSpec(
            kind="export",
            source=ExportSource(job_id=champion),
            outputs=(ExportOutput(opset=17),),
            register=RegisterSpec(enabled=True, promote="if_better"),
        )
        job = submit_job(session, spec, owner="ann")
        publish(session, job, store)
        session.execute(update(Model).values(champion_version=2))
        export_id = job.id
    end(database, export_id)
    job, _ = retrain()
    assert (job.kind, job.parent_job_id) == ("train", export_id)
    assert job.spec["training"]["epochs"] == 7
    assert [output["opset"] for output in job.spec["export"]["outputs"]] == [17]
    assert job.spec["register"] == {"enabled": True, "promote": "if_better"}


def test_callers_join_the_job_while_it_is_queued(database: Database, champion: str, retrain: Retrain) -> None:
    first, _ = retrain()
    second, outcome = retrain(dedupe_key="tuesday", reason="more data", caller="other")
    assert (second.id, outcome) == (first.id, RetrainOutcome.JOINED)
    assert events(database, first.id, "retrain.joined") == [
        {"reason": "more data", "caller": "other", "dedupe_key": "tuesday"}
    ]
    again, outcome = retrain(dedupe_key="tuesday")
    assert (again.id, outcome) == (first.id, RetrainOutcome.REPEATED)
    assert len(events(database, first.id, "retrain.joined")) == 1


def test_a_key_has_its_job_for_ever(database: Database, champion: str, retrain: Retrain) -> None:
    first, _ = retrain()
    with database.transaction() as session:
        cancel_job(session, first.id, owner=None)
    again, outcome = retrain()
    assert (again.id, again.status, outcome) == (first.id, "cancelled", RetrainOutcome.REPEATED)
    other, outcome = retrain(dedupe_key="tuesday")
    assert outcome is RetrainOutcome.QUEUED
    assert other.id != first.id


def test_once_the_job_runs_a_new_key_queues_the_next(
    database: Database, champion: str, retrain: Retrain
) -> None:
    first, _ = retrain()
    taken = claim(database)
    second, outcome = retrain(dedupe_key="tuesday")
    assert outcome is RetrainOutcome.QUEUED
    assert second.id != first.id == taken.job_id
    assert retrain()[0].id == first.id


def test_a_running_job_is_given_back_though_the_next_one_waits(
    database: Database, champion: str, retrain: Retrain
) -> None:
    first, _ = retrain()
    taken = claim(database)
    second, _ = retrain(dedupe_key="tuesday")
    with database.transaction() as session:
        give_back(session, taken, exit_code=75)
    with database.transaction() as session:
        queued = session.scalars(select(Job.id).where(Job.status == "queued")).all()
    assert set(queued) == {first.id, second.id}
    assert retrain(dedupe_key="wednesday")[0].id == second.id


def test_callers_at_the_same_instant_share_one_job(
    database: Database, champion: str, retrain: Retrain
) -> None:
    start = threading.Barrier(6)

    def call(key: str) -> tuple[str, RetrainOutcome]:
        start.wait(timeout=30)
        job, outcome = retrain(dedupe_key=key)
        return job.id, outcome

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(call, ["a", "b", "c", "d", "same", "same"]))
    assert len({job_id for job_id, _ in answers}) == 1
    outcomes = [outcome for _, outcome in answers]
    assert outcomes.count(RetrainOutcome.QUEUED) == 1
    assert outcomes[-2:].count(RetrainOutcome.REPEATED) == 1
    assert count(database, Job) == 2
    assert count(database, RetrainRequest) == 5


def test_a_call_that_meets_a_claim_joins_before_the_start_or_gets_the_next_job(
    database: Database, champion: str, retrain: Retrain
) -> None:
    for number in range(5):
        first, _ = retrain(dedupe_key=f"first {number}")
        start = threading.Barrier(2)

        def call(key: str, start: threading.Barrier = start) -> tuple[Job, RetrainOutcome]:
            start.wait(timeout=30)
            return retrain(dedupe_key=key)

        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call, f"second {number}")
            start.wait(timeout=30)
            with database.transaction() as session:
                taken = claim_job(session, WORKER, lease_seconds=60)
            job, outcome = answer.result(timeout=60)
        assert outcome is (RetrainOutcome.JOINED if job.id == first.id else RetrainOutcome.QUEUED)
        with database.transaction() as session:
            names = [event["event"] for event in list_events(session, first.id)]
        assert names in (
            ["job.queued", "retrain.requested", "retrain.joined"],
            ["job.queued", "retrain.requested", "retrain.joined", "job.started"],
            ["job.queued", "retrain.requested", "job.started"],
        )
        end_all(database, taken)


def end_all(database: Database, taken: Claim | None) -> None:
    with database.transaction() as session:
        if taken is not None:
            finishing.finish_cancelled(session, taken, exit_code=0)
        for job_id in session.scalars(select(Job.id).where(Job.status == "queued")).all():
            cancel_job(session, job_id, owner=None)
