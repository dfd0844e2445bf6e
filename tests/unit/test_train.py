"""The command line without services: flags, a folder of recordings, checkpoints, refusals."""

import contextlib
import io
import json
import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from heimdall_core.cli import train_commands
from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.domain.manifest import Manifest
from heimdall_core.local.arguments import UsageError, build_parser
from heimdall_core.local.console import ConsoleReporter
from heimdall_core.local.recordings import import_folder
from heimdall_core.local.run_files import RunStore
from heimdall_core.recordings.archive import pack_session
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage import FolderStore
from heimdall_core.train import load_training_config, main, open_recordings, parse_arguments, resume_command

MANIFEST = Manifest(
    name="tiny", version=1, origin_latitude=45.0, origin_longitude=8.0, receivers=(), sessions=()
)
DATA = ["--manifest", "m.json", "--store-root", "."]
FLAGS = {
    "--epochs": "7",
    "--batch-size": "4",
    "--learning-rate": "0.01",
    "--seed": "3",
    "--num-workers": "2",
    "--accelerator": "cpu",
    "--devices": "1",
    "--backbone": "nano",
    "--checkpoint-dir": "kept",
    "--output-dir": "out",
    "--run-name": "night",
    "--experiment-name": "field",
    "--config": "job.json",
}
RECEIVERS_CSV = "name,latitude,longitude,noise_floor_db\nwest,40.75,-111.85,-60\neast,40.75,-111.82,-60\n"


@pytest.fixture(autouse=True)
def _no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 sessions, one archive each."""
    folder = tmp_path_factory.mktemp("data") / "valley"
    folder.mkdir()
    for number, session in enumerate(simulate_sessions(24, 1)):
        (folder / f"{number}.sigmf").write_bytes(pack_session(session).data)
    return folder


@dataclass(frozen=True)
class Trained:
    """A finished run: what it was asked, where it wrote, what it said."""

    flags: list[str]
    output: Path
    said: str

    @property
    def checkpoint(self) -> Path:
        return next((self.output / "checkpoints").glob("step-*.ckpt"))


@pytest.fixture(scope="module")
def trained(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    output = tmp_path_factory.mktemp("run") / "out"
    flags = ["--data_dir", str(recordings), "--backbone", "micro", "--batch_size=8", "--accelerator", "cpu"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main([*flags, "--epochs", "2", "--output-dir", str(output)]) == 0
    return Trained(flags, output, said.getvalue())


def _config(tmp_path: Path, content: object) -> list[str]:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(content))
    return [*DATA, "--config", str(path)]


def _spec(arguments: list[str]) -> Any:
    return load_training_config(parse_arguments(arguments), MANIFEST)


@pytest.mark.parametrize("separator", [" ", "="])
def test_every_flag_may_be_spelt_with_underscores(separator: str) -> None:
    def words(spell: Callable[[str], str]) -> list[str]:
        return DATA + " ".join(f"{spell(flag)}{separator}{value}" for flag, value in FLAGS.items()).split()

    dashed = parse_arguments(words(lambda flag: flag))
    assert parse_arguments(words(lambda flag: "--" + flag[2:].replace("-", "_"))) == dashed
    assert (dashed.batch_size, dashed.checkpoint_dir) == (4, Path("kept"))


def test_the_help_names_every_flag() -> None:
    shown = build_parser().format_help()
    switches = ["--data-dir", "--validation-split", "--pretrained", "--freeze-backbone", "--checkpoint"]
    switches += ["--init-from"]
    switches += ["--export-only", "--resume-training", "--run-name-prefix", "--manifest", "--store-root"]
    assert all(flag in shown for flag in [*FLAGS, *switches])


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    given = {"training": {"epochs": 5, "batch_size": 16}, "model": {"covariance": "full", "pretrained": True}}
    spec = _spec([*_config(tmp_path, given), "--epochs", "7", "--backbone", "nano", "--no-pretrained"])
    assert (spec.training.epochs, spec.training.batch_size, spec.training.learning_rate) == (7, 16, 1e-3)
    assert (spec.model.backbone, spec.model.covariance, spec.model.pretrained) == ("nano", "full", False)
    assert (spec.dataset.name, spec.dataset.version) == ("tiny", 1)


def test_a_checkpoint_decides_the_network_unless_it_is_stated(tmp_path: Path) -> None:
    network = {"backbone": "atto", "covariance": "full"}
    options = parse_arguments([*_config(tmp_path, {"model": {"backbone": "nano"}})])
    assert load_training_config(options, MANIFEST, network=network).model.backbone == "nano"
    assert load_training_config(options, MANIFEST, network=network).model.covariance == "full"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"trainig": {}}, "a job has no trainig"),
        ({"training": {"epoch": 1}}, "a job has no training.epoch"),
        ({"model": {"x": 1}}, "a job has no model.x"),
        ({"training": {"epochs": 0}}, "training.epochs: 0 should be greater than or equal to 1"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate: 'fast' should be a valid number"),
        ({"training": 5}, "training: must be an object"),
        ({"kind": "import"}, "kind: 'import'"),
        ([1], "no JSON object"),
        ({"register": {"enabled": True}}, "register.enabled: a run without the service registers nothing"),
        ({"limits": {"max_attempts": 9}}, "limits: means nothing without the service"),
        ({"priority": "high"}, "priority: means nothing without the service"),
        ({"dataset": {"name": "other"}}, "dataset: the recordings of this run are tiny version 1"),
        ({"resources": {"devices": 0}}, "resources.devices: 0 should be greater than or equal to 1"),
        ({"resources": {"num_nodes": 2}}, "resources.num_nodes: 2: a run trains on one host"),
        (
            {"training": {"precision": "fp16"}, "resources": {"accelerator": "cpu"}},
            "/training/precision: fp16 needs a GPU: use auto, bf16 or fp32",
        ),
        ({"model": {"freeze_backbone": True}}, "model.freeze_backbone"),
        ({"model": {"point_estimate": "median"}}, "/model/point_estimate: that of one Gaussian is its mean"),
        (
            {
                "model": {"components": 4, "covariance": "full"},
                "training": {"radio_map": {"reach_m": 200, "fuse": True}},
            },
            "/training/radio_map/fuse: a mixture is not fused",
        ),
        ({"init_from": {"name": "localization"}}, "init_from"),
    ],
)
def test_a_wrong_file_is_refused_with_the_member_and_the_remedy(
    tmp_path: Path, content: object, told: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _spec(_config(tmp_path, content))
    assert told in caught.value.message
    assert caught.value.hint
    assert not isinstance(caught.value, UsageError)


def test_what_a_file_says_that_holds_anyway_is_accepted(tmp_path: Path) -> None:
    given = {"kind": "train", "dataset": {"name": "tiny"}, "register": {"enabled": False}, "limits": {}}
    assert _spec(_config(tmp_path, given)).register.enabled is False


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--epochs", "0"], "--epochs: 0 should be greater"),
        (["--num_workers", "-1"], "--num-workers: -1 should be greater"),
        (["--devices", "0"], "--devices: 0 should be greater"),
        (["--freeze-backbone"], "--freeze-backbone: a frozen backbone of random weights learns nothing"),
    ],
)
def test_a_flag_out_of_bounds_is_named_as_a_flag(flags: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        _spec([*DATA, *flags])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "either --data-dir DIR or --manifest"),
        (["--manifest", "m"], "--manifest and --store-root belong together"),
        (["--data-dir", "d", "--store-root", "s"], "--manifest and --store-root belong together"),
        ([*DATA, "--data-dir", "d"], "either --data-dir DIR or --manifest"),
        ([*DATA, "--validation-split", "0.1"], "a manifest's splits are frozen"),
        (["--data-dir", "d", "--validation-split", "0.8"], "between 0 and 0.8"),
        ([*DATA, "--checkpoint", "c"], "--resume-training or --export-only"),
        ([*DATA, "--export-only"], "--export-only needs --checkpoint"),
        ([*DATA, "--resume-training"], "--resume-training needs --checkpoint"),
        ([*DATA, "--checkpoint", "c", "--export-only", "--resume-training"], "give one of them"),
        (
            [*DATA, "--checkpoint", "c", "--export-only", "--epochs", "3"],
            "does not train: leave out --epochs",
        ),
        ([*DATA, "--checkpoint", "c", "--resume-training", "--pretrained"], "weights come from --checkpoint"),
        (
            [*DATA, "--checkpoint", "c", "--resume-training", "--init-from", "b"],
            "--init-from: the weights come from --checkpoint",
        ),
        ([*DATA, "--checkpoint", "c", "--export-only", "--init-from", "b"], "leave out --init-from"),
        ([*DATA, "--init-from", "b", "--pretrained"], "weights come from --init-from"),
        ([*DATA, "--run-name", "a", "--run-name-prefix", "b"], "not allowed with"),
        ([*DATA, "--epoch", "3"], "unrecognized arguments: --epoch"),
    ],
)
def test_contradicting_flags_end_with_usage_and_what_to_do(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert told in capsys.readouterr().err


def test_an_experiment_without_an_mlflow_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DATA, "--experiment-name", "field"]) == 2
    assert "HEIMDALL_TRACKING__URI or MLFLOW_TRACKING_URI" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "code"), [("{", "bad_json"), ('{"schema": 1}', "bad_manifest")])
def test_a_file_that_is_no_manifest_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, code: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    out = ["--output-dir", str(tmp_path / "out")]
    assert main(["--manifest", str(path), "--store-root", str(tmp_path), *out]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"{code}: ")
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        open_recordings(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(("name", "code"), [("absent", "no_data_dir"), ("empty", "no_recordings")])
def test_a_folder_without_recordings_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    arguments = ["--data-dir", str(tmp_path / name), "--output-dir", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"{code}: ")


def test_a_folder_becomes_the_same_dataset_each_time_and_is_stored_once(
    recordings: Path, tmp_path: Path, reporter: Any
) -> None:
    first = import_folder(recordings, tmp_path, reporter, validation_split=0.3)
    archives = {path: path.stat().st_mtime_ns for path in (tmp_path / "recordings").rglob("*.sigmf")}
    again = import_folder(recordings, tmp_path, reporter, validation_split=0.3)
    assert (first.name, len(first.sessions), len(archives)) == ("valley", 24, 24)
    assert again.digest() == first.digest()
    assert {path: path.stat().st_mtime_ns for path in archives} == archives
    assert len(first.of_split("val")) == pytest.approx(0.3 * 24, abs=1)
    assert len(first.of_split("test")) == pytest.approx(0.2 * 24, abs=1)
    assert Manifest.from_dict(json.loads((tmp_path / "dataset.json").read_bytes())) == first
    assert FolderStore(tmp_path).get_bytes(first.sessions[0].recordings[0].uri)
    split = reporter.events_named("recordings_split")[0]
    assert split["train"] + split["val"] + split["test"] == 24


def test_what_cannot_be_read_is_told_and_the_rest_is_used(
    recordings: Path, tmp_path: Path, reporter: Any
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in recordings.glob("*.sigmf"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.sigmf").write_bytes(b"no archive")
    manifest = import_folder(folder, tmp_path / "out", reporter)
    assert [data["file"] for data in reporter.events_named("file_refused")] == ["broken.sigmf"]
    assert len(manifest.sessions) == 24


def test_a_folder_of_broken_files_gives_no_dataset(tmp_path: Path, reporter: Any) -> None:
    (tmp_path / "broken.sigmf").write_bytes(b"no archive")
    with pytest.raises(DataError) as caught:
        import_folder(tmp_path, tmp_path / "out", reporter)
    assert caught.value.stable_code == "no_sessions"


def _power_table(folder: Path, rows: list[str]) -> Path:
    folder.mkdir()
    (folder / "receivers.csv").write_text(RECEIVERS_CSV)
    (folder / "transmissions.csv").write_text("\n".join(["time,latitude,longitude,fold,west,east", *rows]))
    return folder


def test_the_groups_that_the_input_names_are_kept_together(tmp_path: Path, reporter: Any) -> None:
    rows = [f"2026-05-01T10:00:{n:02d}Z,40.76,-111.84,{'abcde'[n % 5]},-40,-50" for n in range(20)]
    manifest = import_folder(_power_table(tmp_path / "table", rows), tmp_path / "out", reporter)
    assert {session.block for session in manifest.sessions} == set("abcde")
    assert len({(session.block, session.split) for session in manifest.sessions}) == 5
    assert reporter.events_named("recordings_split")[0]["by"] == "groups of the input"


def test_blocks_shrink_until_they_can_be_split(tmp_path: Path, reporter: Any) -> None:
    rows = [f"2026-05-01T10:00:{n:02d}Z,40.{7500 + 30 * n},-111.84,,-40,-50" for n in range(20)]
    manifest = import_folder(_power_table(tmp_path / "table", rows), tmp_path / "out", reporter)
    assert len({session.block for session in manifest.sessions}) >= 10
    assert {session.split for session in manifest.sessions} == {"train", "val", "test"}


def test_recordings_of_one_place_cannot_be_split(tmp_path: Path, reporter: Any) -> None:
    rows = [f"2026-05-01T10:00:{n:02d}Z,40.76,-111.84,,-40,-50" for n in range(20)]
    with pytest.raises(InvalidRequest, match="cannot be split") as caught:
        import_folder(_power_table(tmp_path / "table", rows), tmp_path / "out", reporter)
    assert "three places" in str(caught.value.hint)


def test_only_the_newest_checkpoints_of_a_run_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    store = RunStore(FolderStore(tmp_path), out)
    for name in (
        "checkpoints/step-1.ckpt",
        "checkpoints/step-2.ckpt",
        "best.ckpt",
        "checkpoints/step-3.ckpt",
    ):
        store.put_bytes(f"{store.output_uri}/{name}", b"x")
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "best.ckpt",
        "step-2.ckpt",
        "step-3.ckpt",
    ]


def _command_line() -> typer.Typer:
    app = typer.Typer()
    app.command(context_settings=train_commands.PASS_THROUGH)(train_commands.train)
    app.command()(lambda: None)
    return app


def test_heimdall_train_shows_the_same_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = CliRunner().invoke(_command_line(), ["train", "--help"])
    assert shown.exit_code == 0
    assert shown.output == build_parser("heimdall train").format_help()


def test_heimdall_train_passes_every_flag_on(tmp_path: Path) -> None:
    arguments = ["train", "--data_dir", str(tmp_path / "absent"), "--output-dir", str(tmp_path), "--epochs=3"]
    refused = CliRunner().invoke(_command_line(), arguments)
    assert (refused.exit_code, "no_data_dir" in refused.output) == (1, True)
    assert CliRunner().invoke(_command_line(), ["train", "--epochs"]).exit_code == 2


@pytest.mark.slow
def test_a_run_prints_its_epochs_the_comparison_the_files_and_the_time(trained: Trained) -> None:
    said = trained.said
    assert "epoch 2/2" in said
    assert all(name in said for name in ("train_loss", "val_loss", "val_median_error", " m "))
    assert all(name in said for name in ("median_error_m", "train_mean", "knn", "report.json", "elapsed: "))
    assert f"ONNX: {trained.output / 'model.onnx'}" in said
    assert (trained.output / "model.onnx").stat().st_size > 100_000
    assert (trained.output / "checkpoints" / "best.ckpt").is_file()
    assert not list(trained.output.glob(".work-*"))


@pytest.mark.slow
def test_a_manifest_of_a_run_can_be_trained_on_and_json_leaves_stdout_to_the_result(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--manifest", str(trained.output / "dataset.json"), "--store-root", str(trained.output)]
    flags = ["--epochs", "1", "--backbone", "micro", "--accelerator", "cpu", "--run-name-prefix", "night"]
    kept = tmp_path / "kept"
    out = ["--output_dir", str(tmp_path / "out"), "--checkpoint_dir", str(kept), "--json"]
    assert main([*data, *flags, *out]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert "epoch 1/1" in said.err
    assert result["elapsed_seconds"] > 0
    assert result["onnx_path"] == str(tmp_path / "out" / "model.onnx")
    assert {"best.ckpt", "model.onnx"} <= {Path(file["path"]).name for file in result["files"]}
    assert {path.name for path in kept.iterdir()} >= {"best.ckpt"}
    run_name = json.loads((tmp_path / "out" / "manifest.json").read_bytes())["run_name"]
    assert run_name.startswith("night-20")


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resume = ["--checkpoint", str(trained.checkpoint), "--resume-training"]
    assert main([*trained.flags, *resume, "--epochs", "3", "--output-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "resumed epoch=2" in said
    assert "epoch 3/3" in said
    assert "epoch 2/3" not in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["best.ckpt", "step"])
def test_a_checkpoint_is_exported_without_training(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = trained.checkpoint.with_name("best.ckpt") if name == "best.ckpt" else trained.checkpoint
    data = ["--manifest", str(trained.output / "dataset.json"), "--store-root", str(trained.output)]
    export = ["--checkpoint", str(path), "--export_only", "--output-dir", str(tmp_path), "--json"]
    assert main([*data, *export]) == 0
    said = capsys.readouterr()
    assert "training" not in said.err.split()
    assert json.loads(said.out)["metrics"]["median_error_m"] > 0
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("which", "flags", "code"),
    [
        ("absent.ckpt", ["--export-only"], "checkpoint_not_found"),
        ("model.onnx", ["--export-only"], "checkpoint_unreadable"),
        ("model.onnx", ["--resume-training"], "checkpoint_unreadable"),
        ("checkpoints/best.ckpt", ["--resume-training"], "checkpoint_not_resumable"),
        ("checkpoints/best.ckpt", ["--export-only", "--backbone", "atto"], "checkpoint_of_other_network"),
        ("checkpoints/best.ckpt", ["--init-from", "--backbone", "atto"], "init_from_does_not_fit"),
        ("absent.ckpt", ["--init-from"], "checkpoint_not_found"),
        ("model.onnx", ["--init-from"], "checkpoint_unreadable"),
        ("step", ["--resume-training", "--epochs", "1"], "checkpoint_too_far"),
    ],
)
def test_a_checkpoint_of_no_use_ends_with_one_line(
    trained: Trained,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    which: str,
    flags: list[str],
    code: str,
) -> None:
    path = trained.checkpoint if which == "step" else trained.output / which
    data = ["--manifest", str(trained.output / "dataset.json"), "--store-root", str(trained.output)]
    begin = (
        [flags[0], str(path), *flags[1:]]
        if flags[0] == "--init-from"
        else ["--checkpoint", str(path), *flags]
    )
    assert main([*data, *begin, "--output-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{code}: ")
    assert said.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--pretrained", "--backbone", "micro"], "no_pretrained_weights"),
        (["--accelerator", "gpu"], "no_gpu"),
    ],
)
def test_what_this_machine_cannot_do_is_refused_before_recordings_are_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    code: str,
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    arguments = ["--data-dir", str(tmp_path / "absent"), *flags, "--output-dir", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"{code}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_train_on(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, before = ConsoleReporter.metrics, signal.getsignal(signal.SIGINT)

    def interrupt(self: ConsoleReporter, values: Any, *, step: int, epoch: int) -> None:
        told(self, values, step=step, epoch=epoch)
        if "val_loss" in values:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(ConsoleReporter, "metrics", interrupt)
    assert main([*trained.flags, "--epochs", "500", "--output-dir", str(tmp_path)]) == 130
    monkeypatch.undo()
    said = capsys.readouterr()
    command = shlex.split(said.err.strip().splitlines()[-1])
    checkpoint = Path(command[command.index("--checkpoint") + 1])
    assert checkpoint.is_file()
    assert command[:3] == ["python", "-m", "heimdall_core.train"]
    assert main([*command[3:], "--epochs", "2"]) == 0
    assert "resumed epoch=1" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_checkpoint_a_stopped_run_says_so(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_self: ConsoleReporter, _progress: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        monkeypatch.undo()

    monkeypatch.setattr(ConsoleReporter, "progress", interrupt)
    assert main(["--data-dir", str(recordings), "--output-dir", str(tmp_path)]) == 130
    assert "there was no checkpoint yet" in capsys.readouterr().err


def test_an_event_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleReporter(Console(soft_wrap=True)).event(
        "file_refused", file="[a].sigmf", message="is [bold] broken"
    )
    assert capsys.readouterr().out == "  file_refused file=[a].sigmf message=is [bold] broken\n"


def test_the_command_to_resume_takes_the_weights_from_the_checkpoint() -> None:
    command = "heimdall train --data-dir d --backbone atto --pretrained --freeze-backbone --checkpoint old"
    assert resume_command(command, Path("new.ckpt")) == (
        "heimdall train --data-dir d --backbone atto --freeze-backbone --checkpoint new.ckpt --resume-training"
    )


@pytest.mark.parametrize("flag", ["--init-from", "--init_from"])
def test_the_command_to_resume_does_not_start_again_from_another_model(flag: str) -> None:
    for given in (f"{flag} old.ckpt", f"{flag}=old.ckpt"):
        command = f"heimdall train --data-dir d {given} --epochs 3"
        assert resume_command(command, Path("new.ckpt")) == (
            "heimdall train --data-dir d --epochs 3 --checkpoint new.ckpt --resume-training"
        )


def test_a_frozen_backbone_may_take_its_weights_from_a_file(tmp_path: Path) -> None:
    model = _spec([*DATA, "--freeze-backbone", "--init-from", "b"]).model
    assert (model.freeze_backbone, model.pretrained) == (True, False)
    with pytest.raises(InvalidRequest, match=r"model\.pretrained"):
        _spec([*_config(tmp_path, {"model": {"pretrained": True}}), "--init-from", "b"])


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another_and_can_be_resumed_without_them(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = trained.checkpoint.with_name("best.ckpt")
    data = ["--manifest", str(trained.output / "dataset.json"), "--store-root", str(trained.output)]
    machine = ["--batch-size", "8", "--accelerator", "cpu", "--output-dir", str(tmp_path / "out")]
    assert main([*data, *machine, "--epochs", "1", "--init-from", str(best)]) == 0
    assert "warm_started" in capsys.readouterr().out
    provenance = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert provenance["init_from"]["uri"].endswith("/best.ckpt")
    assert provenance["spec"]["model"]["backbone"] == "micro"
    step = next((tmp_path / "out" / "checkpoints").glob("step-*.ckpt"))
    resume = ["--checkpoint", str(step), "--resume-training", "--epochs", "2"]
    assert main([*data, *machine, *resume]) == 0
    said = capsys.readouterr().out
    assert "resumed epoch=1" in said
    assert "warm_started" not in said


def test_a_frozen_backbone_may_take_its_weights_from_the_checkpoint() -> None:
    resume = ["--freeze-backbone", "--checkpoint", "c", "--resume-training"]
    model = _spec([*DATA, *resume]).model
    assert (model.freeze_backbone, model.pretrained) == (True, False)
