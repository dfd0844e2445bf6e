"""``heimdall replay`` as a person calls it: 0 the weights agree, 1 they differ, 2 it could not run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from heimdall_core.cli import replay_commands
from heimdall_core.cli.main import app
from heimdall_core.domain.manifest import Manifest
from heimdall_core.train import main as train

AGREES, DIFFERS, NOT_RUN = 0, 1, 2


@pytest.fixture(scope="module")
def run(tiny_dataset: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a training of one epoch, with its frozen dataset beside them."""
    root, manifest = tiny_dataset
    folder = tmp_path_factory.mktemp("replay") / "then"
    folder.mkdir()
    (folder.parent / "frozen.json").write_bytes(manifest.to_json())
    config = folder.parent / "config.json"
    config.write_text(json.dumps({"export": {"enabled": False}, "training": {"epochs": 1, "batch_size": 8}}))
    given = ["--manifest", str(folder.parent / "frozen.json"), "--store-root", str(root), "--json"]
    options = ["--config", str(config), "--backbone", "micro", "--accelerator", "cpu"]
    assert train([*given, *options, "--output-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def replay(run: Path, tiny_dataset: tuple[Path, Manifest], tmp_path: Path) -> Callable[..., Any]:
    """Replays the run with members of its manifest changed; the exit code and what was printed as JSON."""

    def call(*options: str, dataset: Path | None = None, root: Path | None = None, **changes: Any) -> Any:
        folder = tmp_path / "results"
        if not folder.exists():
            shutil.copytree(run, folder, ignore=shutil.ignore_patterns("cache"))
        content = json.loads((run / "manifest.json").read_text())
        content["spec"]["training"] |= changes.pop("training", {})
        (folder / "manifest.json").write_text(json.dumps(content | changes))
        places = ["--dataset", str(dataset or run.parent / "frozen.json")]
        places += ["--store-root", str(root or tiny_dataset[0])]
        result = CliRunner().invoke(app, ["replay", str(folder), *places, "--json", *options])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, json.loads(result.stdout)

    return call


@pytest.mark.slow
def test_the_same_training_ends_in_the_same_weights(replay: Callable[..., Any]) -> None:
    code, found = replay()
    assert (code, found["agree"], found["weights"]["max_difference"]) == (AGREES, True, 0.0)
    assert found["differences"] == []
    assert "same bits" in found["promise"]


@pytest.mark.slow
def test_another_seed_ends_in_other_weights_and_says_how_far_apart_they_are(
    replay: Callable[..., Any],
) -> None:
    code, found = replay(training={"seed": 1})
    assert (code, found["agree"]) == (DIFFERS, False)
    assert found["weights"]["max_difference"] > 1e-3
    assert found["weights"]["then_sha256"] != found["weights"]["now_sha256"]
    assert found["metrics"]["median_error_m"]["now"] > 0


def test_recordings_that_were_changed_are_not_trained_on(
    replay: Callable[..., Any], tiny_dataset: tuple[Path, Manifest], tmp_path: Path
) -> None:
    root = tmp_path / "store"
    shutil.copytree(tiny_dataset[0] / "raw", root / "raw")
    place = root / "raw" / "3.sigmf"
    data = bytearray(place.read_bytes())
    offset = tiny_dataset[1].sessions[3].recordings[0].offset
    data[offset] ^= 1
    place.write_bytes(data)
    code, found = replay(root=root)
    assert (code, found["agree"], found["error"]["code"]) == (NOT_RUN, None, "object_changed")


def test_another_dataset_is_not_trained_on(replay: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    content = json.loads((run.parent / "frozen.json").read_text())
    content["sessions"] = content["sessions"][:-1]
    other.write_text(json.dumps(content))
    code, found = replay(dataset=other)
    assert (code, found["error"]["code"]) == (NOT_RUN, "dataset_changed")


def test_other_weights_to_start_from_are_refused(replay: Callable[..., Any], tmp_path: Path) -> None:
    other = tmp_path / "other.ckpt"
    other.write_bytes(b"other")
    start = {"uri": "s3://then/init.ckpt", "sha256": "a" * 64}
    code, found = replay("--init-from", str(other), init_from=start)
    assert (code, found["error"]["code"]) == (NOT_RUN, "object_changed")
    code, found = replay("--init-from", str(other))
    assert (code, found["error"]["code"]) == (NOT_RUN, "init_from_does_not_fit")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"schema": 9}, "run_manifest_schema"),
        ({"spec": None}, "bad_run_manifest"),
        ({"kind": "export"}, "not_a_training"),
    ],
)
def test_a_manifest_that_cannot_be_replayed_is_told_as_json_too(
    run: Path, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads((run / "manifest.json").read_text()) | changes))
    result = CliRunner().invoke(app, ["replay", str(path), "--json"])
    assert result.exit_code == NOT_RUN
    assert json.loads(result.stdout)["error"]["code"] == code


@pytest.mark.parametrize("is_own", [True, False])
def test_the_results_of_a_run_are_not_overwritten(run: Path, tmp_path: Path, is_own: bool) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("cache"))
    folder = run if is_own else other
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    result = CliRunner().invoke(app, ["replay", str(run), "--output-dir", str(folder), "--json"])
    assert result.exit_code == NOT_RUN
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["hint"]) == ("output_unwritable", "Give another --output-dir.")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_crash_does_not_say_that_the_weights_differ(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("hidden fault")

    monkeypatch.setattr(replay_commands, "_compare", crash)
    monkeypatch.setenv("HEIMDALL_DEBUG", "1")
    result = CliRunner().invoke(app, ["replay", str(run), "--json"])
    assert result.exit_code == NOT_RUN
    found = json.loads(result.stdout)
    assert (found["agree"], found["error"]["code"]) == (None, "internal_error")


def test_a_file_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(app, ["replay", "nowhere.json"])
    assert result.exit_code == NOT_RUN
    assert "nowhere.json" in result.stderr


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    for options in (["--validation-split", "0.1"], ["--dataset", "a.json", "--data-dir", str(tmp_path)]):
        assert CliRunner().invoke(app, ["replay", "manifest.json", *options]).exit_code == NOT_RUN
