"""The command line without services."""

import json
from pathlib import Path

import pytest

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.manifest import Manifest
from heimdall_core.train import load_training_config, main, open_recordings, parse_arguments

pytestmark = pytest.mark.slow

MANIFEST = Manifest(
    name="tiny", version=1, origin_latitude=45.0, origin_longitude=8.0, receivers=(), sessions=()
)


def _config(tmp_path: Path, content: object) -> list[str]:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(content))
    return ["--manifest", "m.json", "--store-root", ".", "--config", str(path)]


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    given = {"training": {"epochs": 5, "batch_size": 16}, "model": {"covariance": "full"}}
    arguments = parse_arguments([*_config(tmp_path, given), "--epochs", "7", "--backbone", "nano"])
    spec = load_training_config(arguments, MANIFEST)
    assert (spec.training.epochs, spec.training.batch_size, spec.training.learning_rate) == (7, 16, 1e-3)
    assert (spec.model.backbone, spec.model.covariance) == ("nano", "full")
    assert (spec.dataset.name, spec.dataset.version) == ("tiny", 1)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"trainig": {}}, "trainig"),
        ({"training": {"epoch": 1}}, "training.epoch"),
        ({"model": {"x": 1}}, "model.x"),
    ],
)
def test_a_member_that_no_job_has_is_named(tmp_path: Path, content: object, name: str) -> None:
    with pytest.raises(DataError, match=name):
        load_training_config(parse_arguments(_config(tmp_path, content)), MANIFEST)


def test_a_manifest_that_is_no_json_ends_with_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{")
    assert main(["--manifest", str(path), "--store-root", str(tmp_path)]) == 1
    assert "bad_json" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_recordings(str(tmp_path / "nowhere"))


def test_a_run_leaves_the_model_in_the_output_folder(
    tiny_dataset: tuple[Path, Manifest], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, manifest = tiny_dataset
    path = tmp_path / "manifest.json"
    path.write_bytes(manifest.to_json())
    arguments = ["--manifest", str(path), "--store-root", str(root), "--output-dir", str(tmp_path / "out")]
    assert main([*arguments, "--epochs", "1", "--backbone", "micro"]) == 0
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert (tmp_path / "out" / "report.json").is_file()
    assert "median_error_m" in capsys.readouterr().out
