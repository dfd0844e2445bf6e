"""Real trainings under the engine: killed, paused, finished early, out of time, out of memory."""

import io
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from api.app import create_app
from api.services import Services
from heimdall_core.accounts.keys import ensure_key
from heimdall_core.database.catalogue_tables import DatasetVersion
from heimdall_core.database.engine import Database
from heimdall_core.database.job_tables import Artifact, Job, JobAttempt, MetricPoint
from heimdall_core.domain.manifest import (
    Manifest,
    ManifestReceiver,
    ManifestRecording,
    ManifestSession,
)
from heimdall_core.domain.spec import (
    DatasetRef,
    LimitsSpec,
    ModelSpec,
    RegisterSpec,
    ResourcesSpec,
    TrainingSpec,
    TrainJobSpec,
)
from heimdall_core.jobs.claiming import Claim, WorkerIdentity, claim_job
from heimdall_core.jobs.queries import list_attempts, list_checkpoints
from heimdall_core.jobs.requests import finish_job, pause_job, resume_job
from heimdall_core.jobs.retrying import retry_job
from heimdall_core.jobs.submission import submit_job
from heimdall_core.recordings.archive import pack_session
from heimdall_core.settings import LeaseSettings, Settings, WorkerSettings
from heimdall_core.simulation.sites import ORIGIN, SITES
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage import S3Store
from heimdall_core.telemetry.otlp import OtlpSpans
from tests.integration.histories import list_events
from tests.integration.otlp_receiver import otlp_receiver
from worker.host_lock import HostLock
from worker.slots import SlotPool
from worker.supervision import Attempt, Host
from worker.trainers import ForkServer

pytestmark = pytest.mark.slow

IDENTITY = WorkerIdentity(name="worker@tests", host="tests", boot_id="boot", has_gpu=False)
LEASE = LeaseSettings(
    lease_seconds=20,
    heartbeat_seconds=0.5,
    stop_after_seconds=12,
    kill_after_seconds=16,
    flag_poll_seconds=0.02,
    stop_grace_seconds=10,
)
EPOCHS = 60
KEY = "hmd_" + "t" * 40


@pytest.fixture(scope="module")
def fork_server(engines_environment: dict[str, str], module_folder: Path) -> Iterator[ForkServer]:
    """Warm, with one thread: two identical trainings then take the same order of sums."""
    home = module_folder
    quick = {
        "HEIMDALL_WORKER__CHECKPOINT_SECONDS": "0.02",
        "OMP_NUM_THREADS": "1",
        "HEIMDALL_HOME": str(home),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            engines_environment | quick | {"HEIMDALL_CACHE_DIR": str(home / "cache")}
        ).items():
            patch.setenv(name, value)
        patch.delenv("HEIMDALL_TRACKING__URI", raising=False)
        server = ForkServer()
        server.start()
        assert server.wait_ready(120)
        yield server
        server.close()


@pytest.fixture
def host(
    database: Database, store: S3Store, settings: Settings, fork_server: ForkServer, tmp_path: Path
) -> Host:
    worker = WorkerSettings(torch_threads=1)
    changed = settings.model_copy(update={"lease": LEASE, "home": tmp_path / "home", "worker": worker})
    return Host(
        database=database, store=store, fork_server=fork_server, settings=changed, shutdown=threading.Event()
    )


@pytest.fixture
def dataset(database: Database, store: S3Store) -> str:
    """A tiny frozen dataset version whose recordings lie in the store."""
    sessions = tuple(_stored(s, i, store) for i, s in enumerate(simulate_sessions(30, seed=5)))
    manifest = Manifest(
        name="tiny",
        version=1,
        origin_latitude=ORIGIN[0],
        origin_longitude=ORIGIN[1],
        receivers=tuple(
            ManifestReceiver(
                name=site.receiver.name,
                latitude=site.receiver.latitude,
                longitude=site.receiver.longitude,
                altitude_m=site.receiver.altitude_m,
            )
            for site in SITES
        ),
        sessions=sessions,
    )
    stored = store.put_bytes("s3://heimdall-models/datasets/tiny/1.json", manifest.to_json())
    row = DatasetVersion(
        name="tiny",
        version=1,
        digest=manifest.digest(),
        manifest_uri=stored.uri,
        manifest_sha256=stored.sha256,
        counts={},
        receivers=[],
        query={},
        split={},
        created_by="tests",
    )
    with database.transaction() as session:
        session.add(row)
    return "tiny"


def _stored(session: Any, index: int, store: S3Store) -> ManifestSession:
    packed = pack_session(session)
    uri = f"s3://heimdall-raw-iq/tiny/{index}.sigmf"
    store.put_bytes(uri, packed.data)
    return ManifestSession(
        id=f"s{index}",
        source=session.source.name,
        latitude=session.source.latitude,
        longitude=session.source.longitude,
        frequency_hz=session.source.frequency_hz,
        started_at=session.started_at.isoformat(),
        split=("val", "test", "train", "train", "train")[index % 5],  # type: ignore[arg-type]
        block=str(index),
        recordings=tuple(
            ManifestRecording(
                receiver=recording.receiver.name,
                uri=uri,
                offset=member.offset,
                num_bytes=member.num_bytes,
                sha256=member.sha256,
                format=recording.format,
                sample_rate_hz=recording.sample_rate_hz,
                center_frequency_hz=recording.center_frequency_hz,
                noise_floor_dbfs=recording.noise_floor_dbfs,
            )
            for recording, member in zip(session.recordings, packed.members, strict=True)
        ),
    )


@pytest.fixture
def submit(database: Database, dataset: str) -> Callable[..., str]:
    def submit_training(*, limits: LimitsSpec | None = None, devices: int = 1, **training: Any) -> str:
        values: dict[str, Any] = {
            "epochs": EPOCHS,
            "batch_size": 4,
            "early_stopping_patience": None,
            **training,
        }
        spec = TrainJobSpec(
            kind="train",
            dataset=DatasetRef(name=dataset),
            model=ModelSpec(backbone="micro"),
            training=TrainingSpec(**values),
            resources=ResourcesSpec(accelerator="cpu", devices=devices),
            register=RegisterSpec(enabled=False),
            limits=limits or LimitsSpec(max_attempts=20),
        )
        with database.transaction() as session:
            return submit_job(session, spec, owner="alice").id

    return submit_training


class NoHints:
    """Wakes nobody."""

    def start(self) -> None:
        """Begins nothing."""

    def hint(self) -> None:
        """Is lost."""

    def close(self) -> None:
        """Ends nothing."""


class Run:
    """One attempt in a thread of its own, watched from outside."""

    def __init__(self, host: Host) -> None:
        self.database = host.database
        with self.database.transaction() as session:
            session.execute(update(Job).where(Job.status == "queued").values(not_before=func.now()))
            claim = claim_job(session, IDENTITY, lease_seconds=LEASE.lease_seconds)
        assert claim is not None
        self.claim: Claim = claim
        self.thread = threading.Thread(target=Attempt(host, claim).run)
        self.thread.start()

    def until_step(self, step: int) -> None:
        self.until(lambda job: ((job.progress or {}).get("step") or 0) >= step)

    def until(self, condition: Callable[[Job], bool]) -> None:
        deadline = time.monotonic() + 90
        while self.thread.is_alive() and not condition(read(self.database, self.claim.job_id)):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def kill(self) -> None:
        with self.database.transaction() as session:
            where = (JobAttempt.job_id == self.claim.job_id, JobAttempt.number == self.claim.attempt)
            pid = session.scalar(select(JobAttempt.trainer_pid).where(*where))
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def join(self) -> Job:
        self.thread.join(120)
        assert not self.thread.is_alive()
        return read(self.database, self.claim.job_id)


def read(database: Database, job_id: str) -> Job:
    with database.transaction() as session:
        return session.get_one(Job, job_id)


def events(database: Database, job_id: str, name: str) -> list[dict[str, Any]]:
    with database.transaction() as session:
        return [e["data"] for e in list_events(session, job_id, limit=1000) if e["event"] == name]


def curve(database: Database, job_id: str) -> dict[tuple[str, int], float]:
    """What a training has learnt, not how fast it was."""
    with database.transaction() as session:
        points = session.scalars(select(MetricPoint).where(MetricPoint.job_id == job_id))
        return {(p.name, p.step): p.value for p in points if p.name != "samples_per_second"}


def weights(database: Database, store: S3Store, job_id: str) -> dict[str, torch.Tensor]:
    with database.transaction() as session:
        where = (Artifact.job_id == job_id, Artifact.name == "best.ckpt")
        uri = session.scalars(select(Artifact.uri).where(*where)).one()
    content = torch.load(io.BytesIO(store.get_bytes(uri)), weights_only=True)
    state: dict[str, torch.Tensor] = content["state_dict"]
    return state


def test_a_training_killed_at_random_steps_ends_in_the_same_weights_and_the_same_curve(
    host: Host, database: Database, store: S3Store, submit: Callable[..., str]
) -> None:
    whole = submit()
    assert Run(host).join().status == "succeeded"
    rng = random.Random(7)
    killed = submit()
    steps_per_epoch = 5
    for step in sorted(rng.sample(range(1, EPOCHS * steps_per_epoch - 1), 4)):
        run = Run(host)
        run.until_step(step)
        run.kill()
        if run.join().status != "queued":
            break
    while read(database, killed).status == "queued":
        Run(host).join()
    job = read(database, killed)
    assert job.status == "succeeded", job.error
    assert job.attempt > 1, "it was never killed"
    assert events(database, killed, "resumed"), "it never resumed"
    expected, found = weights(database, store, whole), weights(database, store, killed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert curve(database, killed) == curve(database, whole)


def test_what_a_killed_attempt_left_on_the_disk_is_not_in_the_way_of_the_next(
    host: Host, database: Database, submit: Callable[..., str]
) -> None:
    job_id = submit(epochs=80)
    run = Run(host)
    run.until_step(2)
    run.kill()
    assert run.join().status == "queued"
    left = _checkpoint_folders(host, job_id)
    for folder in left:
        # As a kill during an upload leaves it: a second name for the file that is being read.
        for step in range(1, 200):
            (folder / f"last-{step}.upload").touch()
    assert Run(host).join().status == "succeeded"
    assert read(database, job_id).attempt == 2
    assert left, "the first attempt had made its folder"


def _checkpoint_folders(host: Host, job_id: str) -> list[Path]:
    return list((host.settings.home / "work" / job_id).rglob("checkpoints"))


def test_a_paused_training_releases_its_process_and_resumes_where_it_was(
    host: Host, database: Database, store: S3Store, submit: Callable[..., str]
) -> None:
    whole = submit()
    assert Run(host).join().status == "succeeded"
    paused = submit()
    run = Run(host)
    run.until_step(3)
    with database.transaction() as session:
        pause_job(session, paused, owner="alice")
    job = run.join()
    assert job.status == "paused"
    with database.transaction() as session:
        assert [
            a.outcome for a in session.scalars(select(JobAttempt).where(JobAttempt.job_id == paused))
        ] == ["paused"]
        assert list_checkpoints(session, paused)
        resume_job(session, paused, owner="alice")
    job = Run(host).join()
    assert (job.status, job.attempt, job.failures) == ("succeeded", 2, 0)
    assert events(database, paused, "resumed")
    expected, found = weights(database, store, whole), weights(database, store, paused)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_finishing_early_keeps_the_best_epoch_and_goes_all_the_way(
    host: Host, database: Database, submit: Callable[..., str]
) -> None:
    job_id = submit(epochs=2000)
    run = Run(host)
    run.until_step(7)
    with database.transaction() as session:
        finish_job(session, job_id, owner="alice")
    job = run.join()
    assert job.status == "succeeded", job.error
    assert job.result is not None
    assert job.result["onnx"]["sha256"]
    assert 1 <= job.result["best_epoch"] < 2000
    with database.transaction() as session:
        (attempt,) = list_attempts(session, job_id)
    assert attempt["peak_host_bytes"] > 3e8
    assert attempt["peak_accelerator_bytes"] is None
    assert 0.0 < attempt["seconds_per_epoch"] < 30.0
    assert events(database, job_id, "finishing_early")


def test_finishing_before_the_first_validation_validates_once(
    host: Host, database: Database, submit: Callable[..., str]
) -> None:
    job_id = submit(epochs=2000, batch_size=1)
    run = Run(host)
    run.until_step(1)
    with database.transaction() as session:
        finish_job(session, job_id, owner="alice")
    job = run.join()
    assert job.status == "succeeded", job.error
    assert job.result is not None
    assert job.result["best_epoch"] >= 1


def test_a_training_beyond_its_time_is_checkpointed_and_fails_as_such_and_its_retry_goes_on(
    host: Host, database: Database, submit: Callable[..., str]
) -> None:
    job_id = submit(epochs=2000, limits=LimitsSpec(max_runtime_seconds=3))
    job = Run(host).join()
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["category"]) == ("time_limit", "user")
    assert job.runtime_seconds >= 3
    with database.transaction() as session:
        newest = list_checkpoints(session, job_id)[0]
        retried = retry_job(session, job_id, owner="alice", submitter="alice", from_checkpoint=True).id
        session.execute(update(Job).where(Job.id == retried).values(max_runtime_seconds=None))
    run = Run(host)
    run.until_step(newest.step + 1)
    with database.transaction() as session:
        finish_job(session, retried, owner="alice")
    assert run.join().status == "succeeded"
    (resumed,) = events(database, retried, "resumed")
    assert resumed["step"] == newest.step


def test_after_memory_ran_out_the_training_goes_on_with_a_smaller_micro_batch(
    host: Host, database: Database, submit: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from heimdall_core.domain.errors import ErrorCategory, ErrorInfo

    job_id = submit()
    oom = ErrorInfo(code="out_of_memory", category=ErrorCategory.OOM, message="no memory left")
    with monkeypatch.context() as patch:
        patch.setattr("worker.supervision.explain_exit", lambda *_, **__: oom)
        run = Run(host)
        run.until_step(7)
        run.kill()
        job = run.join()
    assert (job.status, job.adjustments) == ("queued", {"micro_batch_size": 2, "accumulate_grad_batches": 2})
    job = Run(host).join()
    assert job.status == "succeeded", job.error
    steps = {step for name, step in curve(database, job_id) if name == "train_loss"}
    assert max(steps) <= EPOCHS * 5, "the effective batch, and so the number of steps, stayed"


@contextmanager
def two_slots(host: Host, folder: Path) -> Iterator[None]:
    """A worker's slots, as its process has them."""
    worker = host.settings.worker.model_copy(update={"slots": 2, "idle_poll_seconds": 0.1})
    larger = replace(host, settings=host.settings.model_copy(update={"worker": worker}))
    lock = HostLock(folder / "worker.lock")
    pool = SlotPool(larger, IDENTITY, lock)
    pool.start()
    try:
        yield
    finally:
        # Not ``join``: the fork server is that of the other tests too.
        pool.request_stop()
        for thread in (*pool._threads, pool._presence):
            pool.wake()
            thread.join(60)
        lock.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def trainer_of(database: Database, job_id: str) -> int:
    """Of the first attempt; 0: it has not begun."""
    where = (JobAttempt.job_id == job_id, JobAttempt.number == 1)
    with database.transaction() as session:
        return session.scalar(select(JobAttempt.trainer_pid).where(*where)) or 0


def test_a_training_on_two_devices_takes_both_slots_outlives_a_killed_rank_and_equals_one_on_one(
    host: Host, database: Database, store: S3Store, submit: Callable[..., str], tmp_path: Path
) -> None:
    alone = submit()
    assert Run(host).join().status == "succeeded"
    together = submit(devices=2)
    with two_slots(host, tmp_path):
        wait_until(lambda: bool(children(trainer_of(database, together))))
        pid = trainer_of(database, together)
        (rank,) = children(pid)
        os.kill(rank, signal.SIGKILL)
        wait_until(
            lambda: read(database, together).attempt == 2 or read(database, together).status == "queued"
        )
        assert not Path(f"/proc/{pid}").exists()
        with database.transaction() as session:
            session.execute(update(Job).where(Job.status == "queued").values(not_before=func.now()))
        wait_until(lambda: read(database, together).status in {"succeeded", "failed"})
    assert read(database, together).status == "succeeded"
    with database.transaction() as session:
        error = session.scalar(
            select(JobAttempt.error).where(JobAttempt.job_id == together, JobAttempt.number == 1)
        )
    assert error is not None
    assert error["code"] == "rank_lost"
    assert events(database, together, "device_chosen")[0] == {
        "accelerator": "cpu",
        "devices": 2,
        "precision": "fp32",
    }
    expected, found = (curve(database, job_id) for job_id in (alone, together))
    assert found.keys() == expected.keys()
    assert found["val_loss", 24] == pytest.approx(expected["val_loss", 24], rel=1e-3)


def test_one_trace_leads_from_the_request_to_each_phase_of_the_trainer(
    host: Host, database: Database, store: S3Store, settings: Settings, dataset: str
) -> None:
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = {
        "kind": "train",
        "dataset": {"name": dataset},
        "model": {"backbone": "micro"},
        "training": {"epochs": 2, "batch_size": 8},
        "register": {"enabled": False},
        "on_duplicate": "return",
    }
    with otlp_receiver() as collector:
        spans = OtlpSpans("heimdall-api", collector.endpoint)
        services = Services(settings=settings, database=database, store=store, hints=NoHints(), spans=spans)
        with database.transaction() as session:
            ensure_key(session, KEY, owner="alice", name="test")
        with TestClient(create_app(services)) as client:
            headers = {"Authorization": f"Bearer {KEY}", "traceparent": traceparent}
            answer = client.post("/v1/jobs", json=body, headers=headers)
        worker = OtlpSpans("heimdall-worker", collector.endpoint)
        Run(replace(host, spans=worker)).join()
        worker.close()
        told = {span["name"]: span for span in collector.wait_for(8)}
    phases = ["preparing", "training", "evaluating", "exporting", "registering"]
    assert sorted(told) == sorted(["POST /v1/jobs", "submit job", "train attempt", *phases])
    assert {span["trace_id"] for span in told.values()} == {traceparent[3:35]}
    request, submission, attempt = told["POST /v1/jobs"], told["submit job"], told["train attempt"]
    assert request["parent_id"] == "00f067aa0ba902b7"
    assert request["http.response.status_code"] == answer.status_code == 202
    assert answer.headers["traceparent"].split("-")[2] == request["span_id"]
    assert submission["parent_id"] == request["span_id"]
    assert attempt["parent_id"] == submission["span_id"]
    assert attempt["service"] == "heimdall-worker"
    assert attempt["heimdall.job.id"] == submission["heimdall.job.id"] == answer.json()["id"]
    assert {told[phase]["parent_id"] for phase in phases} == {attempt["span_id"]}
    assert "first_step" in told["training"]["events"]
    assert 0 < sum(told[phase]["seconds"] for phase in phases) <= attempt["seconds"]
    assert not any(span["failed"] for span in told.values())
