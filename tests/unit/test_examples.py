"""A consumer needs nothing of ours: the examples run with numpy and onnxruntime alone."""

import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver
from heimdall_core.simulation.sites import ORIGIN, SITES
from heimdall_core.simulation.world_a import simulate_sessions

if TYPE_CHECKING:
    from heimdall_core.export.metadata import ModelFacts

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
RECEIVERS = tuple(
    ManifestReceiver(name=s.name, latitude=s.latitude, longitude=s.longitude, altitude_m=s.altitude_m)
    for s in (site.receiver for site in SITES)
)
CONSUMER = """
import runpy, sys
sys.path.append({packages!r})
sys.argv = {arguments!r}
runpy.run_path(sys.argv[0], run_name="__main__")
tops = {{name.partition(".")[0] for name, module in sys.modules.items() if getattr(module, "__file__", None)}}
print("IMPORTED", *sorted(tops - set(sys.stdlib_module_names) - {{"__main__"}}))
"""


def _facts(settings: FeatureSettings) -> "ModelFacts":
    from heimdall_core.export.metadata import ModelFacts

    return ModelFacts(
        name="localization",
        run_name="job_1",
        receivers=RECEIVERS,
        origin=ORIGIN,
        plane_scale_km=50.0,
        features=settings,
        dataset="northwest:3",
        dataset_digest="d" * 64,
        backbone="micro",
        covariance="diagonal",
        calibration_scale=1.0,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of the seven sites, exported as every model is."""
    import torch

    from heimdall_core.export.exporter import ONNXExporter
    from heimdall_core.networks import LocalizationNet

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    samples = np.random.default_rng(0).normal(0.5, 0.5, (4, 7, 128, 32)).astype(np.float32)
    net = LocalizationNet(7, "micro", "diagonal", origin=ORIGIN, plane_scale_km=50.0)
    ONNXExporter().export_verified(net, path, facts=_facts(FeatureSettings()), features=samples)
    return path


@pytest.fixture(scope="module")
def session() -> Any:
    return next(iter(simulate_sessions(1, 5, num_segments=2)))


def consume(folder: Path, script: str, *arguments: object) -> list[str]:
    """Runs an example where only site-packages can be imported; its lines, the imported packages last."""
    words = [str(EXAMPLES / script), *map(str, arguments)]
    packages = str(Path(np.__file__).parents[1])
    program = CONSUMER.format(packages=packages, arguments=words)
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def write_iq(folder: Path, session: Any) -> list[str]:
    words = []
    for number, recording in enumerate(session.recordings):
        np.save(folder / f"{number}.npy", recording.samples)
        floor = "" if recording.noise_floor_dbfs is None else f":{recording.noise_floor_dbfs!r}"
        words.append(f"{recording.receiver.name}={folder / f'{number}.npy'}{floor}")
    return words


def test_a_model_says_what_it_expects(model: Path, tmp_path: Path) -> None:
    *lines, imported = consume(tmp_path, "predict_onnx.py", model)
    assert imported == "IMPORTED numpy onnxruntime"
    told = "\n".join(lines)
    assert [line for line in lines if "receiver 2: Torino at 45.044, 7.672, 250 m" in line]
    assert "(batch, receivers, 128, 32) float32" in told
    assert "sample_rate_hz" in told
    assert "rows 121: power in the channel: dBFS / 50" in told
    assert "output uncertainties: (batch, 2) standard deviation east, north in metres" in told


def test_iq_becomes_a_position_with_numpy_and_onnxruntime_alone(
    model: Path, session: Any, tmp_path: Path
) -> None:
    from heimdall_core.prediction import predict_sessions

    features = tmp_path / "features.npy"
    *_, imported = consume(tmp_path, "iq_to_features.py", model, features, *write_iq(tmp_path, session))
    assert imported == "IMPORTED numpy onnxruntime"
    *lines, imported = consume(tmp_path, "predict_onnx.py", model, features)
    assert imported == "IMPORTED numpy onnxruntime"
    rows = [list(map(float, re.findall(r"-?\d+\.?\d*", line)))[:2] for line in lines if "+-" in line]
    expected = predict_sessions(model, [session])
    assert len(rows) == 2
    assert np.mean(rows, axis=0) == pytest.approx([expected.latitude[0], expected.longitude[0]], abs=2e-5)


@pytest.mark.parametrize("floors", ["stated", "estimated"])
@pytest.mark.parametrize("scale", ["mel", "linear"])
def test_the_features_are_those_of_the_front_end(session: Any, floors: str, scale: Any) -> None:
    from heimdall_core.features import SpectrogramFrontEnd
    from heimdall_core.prediction import _features

    if floors == "estimated":
        recordings = tuple(replace(r, noise_floor_dbfs=None) for r in session.recordings)
        session = replace(session, recordings=recordings)
    facts = _facts(FeatureSettings(scale=scale))
    properties = facts.to_properties(())
    about = {key: json.loads(properties[f"heimdall.{key}"]) for key in ("receivers", "origin", "features")}
    example = runpy.run_path(str(EXAMPLES / "iq_to_features.py"))
    heard = session.recordings[:5]
    found = example["features_of"]({r.receiver.name: (r.samples, r.noise_floor_dbfs) for r in heard}, about)
    front_end = SpectrogramFrontEnd(facts.features).eval()
    expected = _features(replace(session, recordings=heard), facts, front_end)
    absent = [place for place, r in enumerate(RECEIVERS) if r.name not in {h.receiver.name for h in heard}]
    assert found.shape == (2, 7, 128, 32)
    assert np.abs(found - expected).max() < 1e-3
    assert absent
    assert not found[:, absent].any()


def test_a_receiver_that_the_model_does_not_know_is_refused(
    model: Path, session: Any, tmp_path: Path
) -> None:
    np.save(tmp_path / "iq.npy", session.recordings[0].samples)
    command = [EXAMPLES / "iq_to_features.py", model, tmp_path / "f.npy", f"Roma={tmp_path / 'iq.npy'}"]
    ran = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (1, "the model knows no receiver Roma")
    assert not (tmp_path / "f.npy").exists()


def test_the_shell_example_is_sound() -> None:
    script = EXAMPLES / "submit_and_download.sh"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    asked = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert (asked.returncode, "usage: submit_and_download.sh DATASET" in asked.stderr) == (1, True)


def test_no_command_line_of_the_shell_example_shows_the_key(tmp_path: Path) -> None:
    """A curl that notes its arguments and the header file that they name, and has no answer."""
    curl = tmp_path / "curl"
    curl.write_text(
        '#!/bin/sh\necho "$@" >>"$NOTES/arguments"\n'
        'for word; do case $word in @*authorization) cat "${word#@}" >"$NOTES/header";; esac; done\nexit 7\n'
    )
    curl.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "NOTES": str(tmp_path),
        "HEIMDALL_URL": "http://127.0.0.1:1",
        "HEIMDALL_API_KEY": "hmd_secret",
    }
    script = ["bash", str(EXAMPLES / "submit_and_download.sh"), "demo"]
    ran = subprocess.run(script, env=environment, cwd=tmp_path, capture_output=True, check=False)
    assert ran.returncode != 0
    assert "/v1/jobs" in (tmp_path / "arguments").read_text()
    assert "hmd_secret" not in (tmp_path / "arguments").read_text()
    assert (tmp_path / "header").read_text() == "Authorization: Bearer hmd_secret\n"
