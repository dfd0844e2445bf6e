import json
from pathlib import Path

import httpx
import pytest

from heimdall_core.cli import following
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.demo_plan import POWDER_7, DemoPlan, power_table_plan, synthetic_plan
from heimdall_core.cli.demo_run import DemoRun
from heimdall_core.cli.demo_summary import show_summary
from heimdall_core.cli.errors import JobUnsuccessful
from heimdall_core.cli.uploading import LocalFile
from heimdall_core.domain.errors import InvalidRequest


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "receivers.csv").write_text("name,latitude,longitude\na,1,2\n")
    (tmp_path / "transmissions.csv").write_text("time,latitude,longitude,fold,a\nt,1,2,0,-9\nt,1,2,3,-9\n")
    return tmp_path


def power_plan(folder: Path, *, fold: int = 0, receivers=POWDER_7) -> DemoPlan:
    return power_table_plan(folder, receivers=receivers, test_fold=fold, epochs=5)


def test_a_folder_without_a_power_table_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match=r"no receivers\.csv and no transmissions\.csv"):
        power_plan(tmp_path)


def test_a_fold_that_the_table_does_not_have_is_refused(tables):
    with pytest.raises(InvalidRequest, match="no fold 7; its folds: 0, 3"):
        power_plan(tables, fold=7)


def test_a_table_without_folds_is_refused(tables):
    (tables / "transmissions.csv").write_text("time,latitude,longitude,a\n")
    with pytest.raises(InvalidRequest, match="no column 'fold'"):
        power_plan(tables)


@pytest.mark.parametrize(("fold", "validation"), [(0, "3"), (3, "0")])
def test_one_fold_is_held_out_and_the_next_validates(tables, fold, validation):
    plan = power_plan(tables, fold=fold)
    assert plan.split["test_groups"] == [str(fold)]
    assert plan.split["val_groups"] == [validation]
    assert plan.import_options["receivers"] == list(POWDER_7)
    assert [file.name for file in plan.files()] == ["receivers.csv", "transmissions.csv"]


def test_equal_input_has_an_equal_digest_and_other_input_another(tables):
    first = power_plan(tables).digest
    assert power_plan(tables).digest == first
    assert power_plan(tables, receivers=("a",)).digest != first
    (tables / "receivers.csv").write_text("name,latitude,longitude\na,1,3\n")
    assert power_plan(tables).digest != first


def test_synthetic_recordings_are_made_once(tmp_path, capsys):
    plan = synthetic_plan(tmp_path, num_sessions=3, epochs=1)
    files = plan.files()
    stamps = [file.path.stat().st_mtime_ns for file in files]
    assert [file.path.stat().st_mtime_ns for file in plan.files()] == stamps
    assert len(files) == 3
    assert "3 sessions of synthetic FM" in capsys.readouterr().out


class Server:
    """An API that knows imports, datasets and training jobs, and counts what it is asked to make."""

    def __init__(self, *train_statuses: str):
        self.made: list[str] = []
        self.jobs: dict[str, dict] = {}
        self.datasets: dict[str, dict] = {}
        self.keys: dict[str, str] = {}
        self.train_statuses = list(train_statuses)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        path = request.url.path
        if request.method == "GET":
            return self._get(path)
        if path == "/v1/jobs":
            return self._train(request.headers["Idempotency-Key"])
        self.made.append(path)
        if path == "/v1/uploads":
            return httpx.Response(201, json={"id": "upl_1", "files": []})
        if path.endswith(":complete"):
            return httpx.Response(
                202, json=self._job("succeeded", {"accepted": 5, "duplicates": 0, "refused": []})
            )
        if path.endswith(":approve"):
            return httpx.Response(200, json={"approved": 5})
        assert path == "/v1/datasets"
        version = {
            "name": body["name"],
            "version": len(self.datasets) + 1,
            "counts": {"train": 3, "val": 1, "test": 1},
            "receivers": [1, 2],
        }
        self.datasets[f"/v1/datasets/{body['name']}/versions/{version['version']}"] = version
        return httpx.Response(201, json=version)

    def _train(self, key: str) -> httpx.Response:
        if key not in self.keys:
            self.made.append("train")
            self.keys[key] = self._job(self.train_statuses.pop(0), {})["id"]
        return httpx.Response(202, json={"id": self.keys[key]})

    def _job(self, status: str, result: dict) -> dict:
        job = {
            "id": f"job_{len(self.jobs)}",
            "kind": "train",
            "status": status,
            "is_terminal": True,
            "progress": None,
            "metrics": {},
            "result": result,
        }
        self.jobs[job["id"]] = job
        return job

    def _get(self, path: str) -> httpx.Response:
        if path.endswith("/events"):
            return httpx.Response(200, json={"data": []})
        found = self.jobs.get(path.rpartition("/")[2]) or self.datasets.get(path)
        return httpx.Response(200, json=found) if found else httpx.Response(404, json={"title": "no"})


@pytest.fixture
def plan(tmp_path: Path) -> DemoPlan:
    path = tmp_path / "x.sigmf"
    path.write_text("x")
    return DemoPlan(
        title="",
        digest="d",
        dataset="demo",
        files=lambda: [LocalFile(name="x.sigmf", path=path)],
        import_options={},
        split={},
        training={},
        model={},
    )


def run_of(server: Server, plan: DemoPlan, tmp_path: Path) -> DemoRun:
    client = ApiClient("http://127.0.0.1:1", "k", transport=httpx.MockTransport(server))
    return DemoRun(client, plan, tmp_path / "demo" / "memory.json")


IMPORT = ["/v1/uploads", "/v1/uploads/upl_1:complete", "/v1/recording-sessions:approve", "/v1/datasets"]


def test_a_second_run_reuses_dataset_and_model(plan, tmp_path):
    server = Server("succeeded")
    for _ in range(2):
        run = run_of(server, plan, tmp_path)
        version = run.dataset()
        job = run.train(version["version"], retrain=False)
        run.client.__exit__(None, None, None)
    assert server.made == [*IMPORT, "train"]
    assert job["status"] == "succeeded"


def test_a_run_against_another_database_starts_afresh(plan, tmp_path):
    with run_of(Server(), plan, tmp_path).client:
        run_of(Server(), plan, tmp_path).dataset()
        other = Server()
        run_of(other, plan, tmp_path).dataset()
    assert other.made == IMPORT


def test_a_broken_memory_is_forgotten(plan, tmp_path):
    run = run_of(Server(), plan, tmp_path)
    run.memory.parent.mkdir()
    run.memory.write_text('{"unknown": 1}')
    assert run.dataset()["version"] == 1


def test_a_job_that_failed_the_last_time_is_trained_again(plan, tmp_path):
    server = Server("failed", "succeeded")
    run = run_of(server, plan, tmp_path)
    assert run.train(1, retrain=False)["id"] == "job_1"
    assert server.made == ["train", "train"]


def test_retraining_makes_a_new_job_each_time(plan, tmp_path):
    server = Server("succeeded", "succeeded")
    run = run_of(server, plan, tmp_path)
    assert run.train(1, retrain=True)["id"] != run.train(1, retrain=True)["id"]


def test_a_job_that_fails_again_ends_the_demonstration(plan, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    with pytest.raises(JobUnsuccessful, match="failed"):
        run_of(Server("failed", "failed"), plan, tmp_path).train(1, retrain=False)


def test_the_summary_compares_with_the_baselines(capsys):
    errors = {
        "mean_error_m": 28_200.0,
        "median_error_m": 24_600.0,
        "rmse_m": 33_900.0,
        "p90_error_m": 50_000.0,
    }
    job = {
        "result": {
            "metrics": {**errors, "coverage_68": 0.671},
            "baselines": {"train_mean": errors, "knn": {**errors, "median_error_m": 30_000.0}},
            "onnx": {"uri": "s3://heimdall-models/jobs/j/a1/model.onnx", "bytes": 1_200_000},
            "onnx_parity": {"max_difference": 2e-6, "latency_ms": 1.25},
            "model": {"name": "localization", "version": 3},
        }
    }
    show_summary(job, {"counts": {"test": 120}}, url="http://127.0.0.1:8080", key_place="/home/api-key")
    shown = capsys.readouterr().out
    for text in (
        "120 held-out sessions",
        "24.6 km",
        "67 %",
        "train mean",
        "kNN (15)",
        "30.0 km",
        "localization version 3",
        "1.2 MB",
        "2.0e-06",
        "1.25 ms",
        "http://127.0.0.1:8080/docs",
        "/home/api-key",
    ):
        assert text in shown
    assert "MLflow run" not in shown
