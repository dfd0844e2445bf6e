"""The exported file is valid, says what the network says, and describes itself; else there is none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from botocore.stub import Stubber

from heimdall_core.domain.errors import StorageRefused, StorageUnavailable, TrackingUnavailable
from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver
from heimdall_core.domain.spec import ExportOutput
from heimdall_core.export.exporter import ONNXExporter, export_and_register_model
from heimdall_core.export.metadata import ModelFacts, read_facts
from heimdall_core.export.parity import ExportError, measure_parity
from heimdall_core.networks import LocalizationNet
from heimdall_core.settings import StorageSettings
from heimdall_core.storage import FolderStore, S3Store
from heimdall_core.tracking import TrackingTarget, initialize_mlflow

ORIGIN = (44.95, 8.1)


def _net(covariance: Any = "diagonal", plane_scale_km: float = 50.0) -> LocalizationNet:
    torch.manual_seed(0)
    return LocalizationNet(3, "micro", covariance, origin=ORIGIN, plane_scale_km=plane_scale_km)


def _facts(**changes: Any) -> ModelFacts:
    values: dict[str, Any] = {
        "name": "localization",
        "run_name": "job_1",
        "receivers": tuple(
            ManifestReceiver(name=n, latitude=45.0, longitude=8.0, altitude_m=100.0) for n in ("c", "a", "b")
        ),
        "origin": ORIGIN,
        "plane_scale_km": 50.0,
        "features": FeatureSettings(),
        "dataset": "northwest:3",
        "dataset_digest": "d" * 64,
        "backbone": "micro",
        "covariance": "diagonal",
        "calibration_scale": 1.25,
        "metrics": {"median_error_m": 8123.0},
        "tags": {"heimdall.job_id": "job_1"},
    }
    return ModelFacts(**{**values, **changes})


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 0.5, (24, 3, 128, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, features: np.ndarray) -> tuple[LocalizationNet, Path]:
    net = _net("full")
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    ONNXExporter().export_verified(net, path, facts=_facts(covariance="full"), features=features)
    return net, path


@pytest.mark.parametrize("batch_size", [1, 5, 40])
def test_onnx_runtime_says_what_pytorch_says_for_any_batch_size(
    exported: tuple[LocalizationNet, Path], batch_size: int
) -> None:
    net, path = exported
    x = torch.randn(batch_size, 3, 128, 32)
    outputs = ort.InferenceSession(str(path)).run(None, {"features": x.numpy()})
    with torch.no_grad():
        expected = net.eval()(x)
    assert [o.shape for o in outputs] == [(batch_size, 2), (batch_size, 2), (batch_size, 1)]
    np.testing.assert_allclose(outputs[0], expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs[1], expected[1].numpy(), rtol=1e-4)


@pytest.mark.parametrize(("opset", "plane_scale_km"), [(17, 50.0), (20, 0.7)])
def test_the_opset_is_the_one_asked_for(
    tmp_path: Path, features: np.ndarray, opset: int, plane_scale_km: float
) -> None:
    path = tmp_path / "model.onnx"
    net = _net(plane_scale_km=plane_scale_km)
    parity = (
        ONNXExporter()
        .export_verified(
            net,
            path,
            facts=_facts(plane_scale_km=plane_scale_km),
            features=features,
            output=ExportOutput(opset=opset),
        )
        .parity
    )
    assert [o.version for o in onnx.load(path).opset_import if not o.domain] == [opset]
    assert parity.mean_difference < parity.tolerance
    assert parity.batch_sizes == (1, 2, 7, 32)
    assert parity.latency_ms > 0


def test_a_graph_without_folded_constants_passes_the_same_checks(
    tmp_path: Path, features: np.ndarray
) -> None:
    output = ExportOutput(constant_folding=False)
    found = ONNXExporter().export_verified(
        _net(), tmp_path / "model.onnx", facts=_facts(), features=features, output=output
    )
    assert found.parity.mean_difference < 1e-5


@pytest.mark.slow
def test_an_opset_beyond_the_traced_exporter_works_too(tmp_path: Path, features: np.ndarray) -> None:
    path = tmp_path / "model.onnx"
    ONNXExporter().export_verified(
        _net(), path, facts=_facts(), features=features, output=ExportOutput(opset=21)
    )
    assert [o.version for o in onnx.load(path).opset_import if not o.domain] == [21]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_keeps_its_mode_and_weights(tmp_path: Path, *, training: bool) -> None:
    net = _net().train(training)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    ONNXExporter().export_to_onnx(net, tmp_path / "model.onnx")
    assert net.training is training
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_a_network_in_training_is_exported_as_it_predicts_and_goes_on_training(
    tmp_path: Path, features: np.ndarray
) -> None:
    net, path = _net().train(), tmp_path / "model.onnx"
    ONNXExporter().export_verified(net, path, facts=_facts(), features=features)
    assert all(module.training for module in net.modules())
    with torch.no_grad():
        expected, in_training = (
            net.eval()(torch.from_numpy(features)),
            net.train()(torch.from_numpy(features)),
        )
    assert not torch.allclose(expected[0], in_training[0], atol=1e-4)
    found = ort.InferenceSession(str(path)).run(None, {"features": features})
    np.testing.assert_allclose(found[0], expected[0].numpy(), atol=1e-5)


def test_a_graph_that_differs_from_the_network_is_refused(tmp_path: Path, features: np.ndarray) -> None:
    net = _net()
    ONNXExporter().export_to_onnx(net, tmp_path / "model.onnx")
    with torch.no_grad():
        net.position_head.bias.add_(1e-3)
    with pytest.raises(ExportError) as raised:
        measure_parity(net.eval(), tmp_path / "model.onnx", features)
    assert raised.value.stable_code == "export_parity"


def test_a_network_that_predicts_nan_is_refused_and_leaves_no_file(
    tmp_path: Path, features: np.ndarray
) -> None:
    net = _net()
    with torch.no_grad():
        net.position_head.bias.fill_(float("nan"))
    with pytest.raises(ExportError) as raised:
        ONNXExporter().export_verified(net, tmp_path / "model.onnx", facts=_facts(), features=features)
    assert raised.value.stable_code == "export_parity"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ExportError) as raised:
        ONNXExporter().validate_onnx_model(path)
    assert raised.value.stable_code == "export_invalid"


def test_another_opset_than_asked_for_is_refused(exported: tuple[LocalizationNet, Path]) -> None:
    with pytest.raises(ExportError) as raised:
        ONNXExporter().validate_onnx_model(exported[1], opset_version=17)
    assert raised.value.stable_code == "export_opset"


def test_onnx_runtime_alone_can_read_what_the_file_says_about_itself(
    exported: tuple[LocalizationNet, Path],
) -> None:
    properties = ort.InferenceSession(str(exported[1])).get_modelmeta().custom_metadata_map
    assert [r["name"] for r in json.loads(properties["heimdall.receivers"])] == ["c", "a", "b"]
    assert json.loads(properties["heimdall.origin"]) == [44.95, 8.1]
    assert json.loads(properties["heimdall.features"])["n_fft"] == 256
    assert json.loads(properties["heimdall.dataset_digest"]) == "d" * 64
    assert json.loads(properties["heimdall.metrics"]) == {"median_error_m": 8123.0}
    assert list(json.loads(properties["heimdall.outputs"])) == ["correlation", "positions", "uncertainties"]
    assert "metres" in json.loads(properties["heimdall.outputs"])["uncertainties"]
    assert properties.keys() >= {"heimdall.code_version", "heimdall.run_name", "heimdall.calibration_scale"}


def test_the_facts_come_back_as_they_were(exported: tuple[LocalizationNet, Path]) -> None:
    properties = ort.InferenceSession(str(exported[1])).get_modelmeta().custom_metadata_map
    assert read_facts(properties) == _facts(covariance="full")
    assert ONNXExporter().get_model_metadata(exported[1])["run_name"] == "job_1"


def test_a_refused_upload_is_an_infrastructure_error(
    tmp_path: Path, features: np.ndarray, refusing_store: Any
) -> None:
    refusing_store.refused = "model.onnx"
    with pytest.raises(StorageUnavailable):
        export_and_register_model(
            ONNXExporter(refusing_store),
            _net(),
            tmp_path / "model.onnx",
            facts=_facts(),
            features=features,
            bucket_name="models",
            object_name="jobs/1/model.onnx",
        )


def test_the_upload_holds_the_file(tmp_path: Path, features: np.ndarray, folder_store: FolderStore) -> None:
    model = export_and_register_model(
        ONNXExporter(folder_store),
        _net(),
        tmp_path / "model.onnx",
        facts=_facts(),
        features=features,
        bucket_name="models",
        object_name="jobs/1/model.onnx",
    )
    assert model.object.uri == "s3://models/jobs/1/model.onnx"
    assert folder_store.get_bytes(model.object.uri) == model.path.read_bytes()


@pytest.mark.parametrize(
    ("vendors", "status", "code", "remedy"),
    [
        ("AccessDenied", 403, "storage_forbidden", "right"),
        ("NoSuchBucket", 404, "bucket_not_found", "HEIMDALL_STORAGE__MODELS_BUCKET"),
    ],
)
def test_a_store_that_refuses_the_file_says_what_a_person_must_put_right(
    vendors: str, status: int, code: str, remedy: str, tmp_path: Path, features: np.ndarray
) -> None:
    settings = StorageSettings(
        endpoint_url="http://127.0.0.1:9",
        access_key_id="id",
        secret_access_key="secret",
    )
    store = S3Store(settings)
    stub = Stubber(store._s3)
    stub.add_client_error("put_object", vendors, http_status_code=status)
    with stub, pytest.raises(StorageRefused) as raised:
        export_and_register_model(
            ONNXExporter(store),
            _net(),
            tmp_path / "model.onnx",
            facts=_facts(),
            features=features,
            bucket_name="models",
            object_name="jobs/1/model.onnx",
        )
    assert raised.value.stable_code == code
    assert remedy in str(raised.value.hint)


def test_a_registry_that_does_not_answer_in_time_is_told_by_its_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    target = TrackingTarget(uri="http://user:geheim@127.0.0.1:9", experiment="tests")
    with pytest.raises(TrackingUnavailable) as raised:
        ONNXExporter(tracking=target).register_with_mlflow(
            "localization", "s3://models/model.onnx", {}, "Production", limit_seconds=0.1
        )
    assert raised.value.stable_code == "registration_timeout"
    assert "register again" in str(raised.value.hint)
    assert "geheim" not in raised.value.message


def test_a_stage_that_there_is_not_is_refused_before_anything_is_exported(
    tmp_path: Path, features: np.ndarray, folder_store: FolderStore
) -> None:
    with pytest.raises(ValueError, match="Canary"):
        export_and_register_model(
            ONNXExporter(folder_store),
            _net(),
            tmp_path / "work" / "model.onnx",
            facts=_facts(),
            features=features,
            bucket_name="models",
            object_name="model.onnx",
            register_as="localization",
            stage="Canary",
        )
    assert not (tmp_path / "work").exists()


# MLflow 3.17's tables use what SQLAlchemy 2.1 deprecates.
@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
@pytest.mark.slow
def test_versions_are_registered_one_after_another_and_a_stage_is_an_alias(tmp_path: Path) -> None:
    target = TrackingTarget(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", experiment="tests")
    exporter = ONNXExporter(tracking=target)
    versions = [
        exporter.register_with_mlflow("localization", f"s3://models/{n}/model.onnx", {"sha256": "0"}, stage)
        for n, stage in (("a", None), ("b", "Production"), ("b", None))
    ]
    assert versions == ["1", "2", "2"]
    client, _ = initialize_mlflow(target.uri, target.experiment)
    champion = client.get_model_version_by_alias("localization", "champion")
    assert (str(champion.version), champion.source) == ("2", "s3://models/b/model.onnx")
    assert (champion.tags["sha256"], champion.tags["heimdall.stage"]) == ("0", "production")
