"""A small network, what is known of it, and inputs of the kind that it meets."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from heimdall_core.domain.manifest import FeatureSettings, ManifestReceiver
from heimdall_core.export.budget import Accuracy, Judge
from heimdall_core.export.front_end import features_of, random_iq
from heimdall_core.export.metadata import ModelFacts
from heimdall_core.export.verification import Evidence
from heimdall_core.networks import LocalizationNet

ORIGIN = (44.95, 8.1)
RECEIVERS = tuple(
    ManifestReceiver(name=n, latitude=45.0 + 0.1 * i, longitude=8.0 - 0.1 * i, altitude_m=100.0 * i)
    for i, n in enumerate("cab")
)
SETTINGS = FeatureSettings()


@pytest.fixture(scope="session")
def facts() -> ModelFacts:
    return ModelFacts(
        name="localization",
        run_name="job_1",
        receivers=RECEIVERS,
        origin=ORIGIN,
        plane_scale_km=50.0,
        features=SETTINGS,
        dataset="northwest:3",
        dataset_digest="d" * 64,
        backbone="micro",
        covariance="full",
        calibration_scale=1.0,
        metrics={"median_error_m": 8123.0},
        tags={"heimdall.job_id": "job_1"},
    )


@pytest.fixture(scope="session")
def net() -> LocalizationNet:
    """Its blocks count for something: fresh ones are scaled to a millionth."""
    torch.manual_seed(0)
    made = LocalizationNet(3, "micro", "full", origin=ORIGIN, plane_scale_km=50.0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("layer_scale_parameter"):
                parameter.fill_(0.3)
    return made.eval()


@pytest.fixture(scope="session")
def mixture(net: LocalizationNet) -> LocalizationNet:
    """Three Gaussians behind the same backbone."""
    torch.manual_seed(1)
    made = LocalizationNet(3, "micro", "full", components=3, origin=ORIGIN, plane_scale_km=50.0)
    made.backbone.load_state_dict(net.backbone.state_dict())
    made.set_calibration(1.25)
    return made.eval()


@pytest.fixture(scope="session")
def mixture_facts(facts: ModelFacts) -> ModelFacts:
    return replace(facts, components=3, calibration_scale=1.25)


@pytest.fixture(scope="session")
def iq() -> dict[str, np.ndarray]:
    shape = np.zeros((1, 3, 2, SETTINGS.segment_samples), np.float32)
    return random_iq({"iq": shape}, 12, seed=5)


@pytest.fixture(scope="session")
def features(iq: Any) -> np.ndarray:
    return features_of(iq, SETTINGS, RECEIVERS, ORIGIN)


def judge_that_finds(**changes: float) -> Judge:
    reference = Accuracy(median_error_m=1000.0, nll_per_m2=15.0)
    found = Accuracy(**{"median_error_m": 1000.0, "nll_per_m2": 15.0, **changes})
    return Judge(
        reference={"val": reference, "test": reference},
        score=lambda _: {"val": reference, "test": found},
    )


@pytest.fixture
def evidence(features: np.ndarray, iq: Any) -> Evidence:
    return Evidence(calibration=features, judge=judge_that_finds(), iq=iq)


@pytest.fixture(scope="session")
def finding() -> Any:
    return judge_that_finds
