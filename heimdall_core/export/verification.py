"""Whether a file may be published: every check passes, or there is no file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from heimdall_core.domain.spec import LAST_TRACED_OPSET, ExportOutput
from heimdall_core.export.budget import Comparison, Judge, require_within_budget
from heimdall_core.export.errors import ExportError
from heimdall_core.export.front_end import FrontEndParity, features_of, measure_front_end, random_iq
from heimdall_core.export.graph import OPSETS, require_opset
from heimdall_core.export.metadata import INPUT_NAME, IQ_NAME, ModelFacts, contract_of, output_names
from heimdall_core.export.parity import (
    HINTS,
    TOLERANCES,
    Feeds,
    Parity,
    Reference,
    compare,
    interleave,
    network_reference,
    random_features,
)
from heimdall_core.export.structure import check_contract, check_metadata, check_opset, load_checked
from heimdall_core.networks import LocalizationNet

Array = NDArray[np.float32]
_NUM_RANDOM_SAMPLES = 16
_SPLITS = "Give what the splits of the dataset hold: nothing is published that was not tried."


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What of the dataset a file is made and tried with besides features."""

    calibration: Array | None = None
    """(N, R, 128, 32) of the training split, for ``int8``."""
    judge: Judge | None = None
    """For all precisions but ``fp32``."""
    iq: Feeds | None = None
    """Recordings of the test split as a graph with the front end takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was measured of a file that passed every check; there is none of a file that did not."""

    parity: Parity
    num_bytes: int
    comparison: Comparison | None
    """With the network's accuracy, of a lower precision."""
    front_end: FrontEndParity | None
    """Of a graph that takes IQ."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        comparison: Mapping[str, Any] = {"median_error_change": None, "nll_change": None, "budget": None}
        return {
            "passed": True,
            **self.parity.to_dict(),
            "num_bytes": self.num_bytes,
            "onnxruntime": ort.__version__,
            **(comparison if self.comparison is None else self.comparison.to_dict()),
            "front_end": None if self.front_end is None else self.front_end.to_dict(),
        }


def require_evidence(output: ExportOutput, features: Array, evidence: Evidence) -> None:
    """Checks that there is something to make and to try a file with.

    Raises:
        ExportError: something is missing, or the opset is not one that such files can have.
    """
    require_opset(output.opset)
    for is_wanted, what in ((output.precision == "int8", "int8"), (output.include_frontend, "the front end")):
        if is_wanted:
            require_opset(output.opset, known=range(OPSETS.start, LAST_TRACED_OPSET + 1), what=what)
    if not len(features):
        raise ExportError("there are no features to try the model on", code="export_unverified", hint=_SPLITS)
    if output.precision != "fp32":
        _require_judge(evidence)
    if output.precision == "int8":
        require_calibration(evidence)
    if output.include_frontend:
        _require_iq(evidence)


def verify(
    net: LocalizationNet,
    path: Path,
    *,
    output: ExportOutput,
    facts: ModelFacts,
    features: Array,
    evidence: Evidence,
) -> Verification:
    """Checks a file against what was asked for and against the network itself.

    Args:
        net: on the CPU, float32, in evaluation mode.
        path: the file as it is to be published.
        output: what was asked for.
        facts: what the file must say about itself.
        features: (N, R, 128, 32) of the test split.
        evidence: what else it is tried on.

    Raises:
        ExportError: a check failed, or cannot be made for want of evidence.
    """
    require_evidence(output, features, evidence)
    model = load_checked(path)
    check_opset(model, output.opset)
    check_contract(model, contract_of(net, facts.features if output.include_frontend else None))
    check_metadata(
        model, facts, output_names(net), precision=output.precision, takes_iq=output.include_frontend
    )
    del model
    parity = _measure(net, path, output, facts, features, evidence)
    comparison = None
    if output.precision != "fp32":
        comparison = require_within_budget(path, output.precision, _require_judge(evidence))
    return Verification(
        parity=parity,
        num_bytes=path.stat().st_size,
        comparison=comparison,
        front_end=_measure_front_end(path, facts, evidence) if output.include_frontend else None,
    )


def _measure(
    net: LocalizationNet,
    path: Path,
    output: ExportOutput,
    facts: ModelFacts,
    features: Array,
    evidence: Evidence,
) -> Parity:
    """On recorded samples and random ones; a lower precision must be close on the recorded ones alone."""
    tolerance, reference = TOLERANCES[output.precision], network_reference(net)
    real: Feeds = {INPUT_NAME: features}
    noise: Feeds = {INPUT_NAME: random_features(features, _NUM_RANDOM_SAMPLES)}
    if output.include_frontend:
        reference = _behind_front_end(reference, facts)
        real, noise = _require_iq(evidence), random_iq(_require_iq(evidence), _NUM_RANDOM_SAMPLES)
    if output.precision == "fp32":
        return compare(reference, path, interleave(real, noise), net, tolerance=tolerance)
    hint = HINTS[output.precision]
    compare(reference, path, noise, net, tolerance=np.inf, hint=hint)
    return compare(reference, path, real, net, tolerance=tolerance, hint=hint)


def _behind_front_end(reference: Reference, facts: ModelFacts) -> Reference:
    def run(feeds: Feeds) -> list[Array]:
        return reference({INPUT_NAME: features_of(feeds, facts.features, facts.receivers, facts.origin)})

    return run


def _measure_front_end(path: Path, facts: ModelFacts, evidence: Evidence) -> FrontEndParity:
    real = _require_iq(evidence)
    feeds = interleave(real, random_iq(real, _NUM_RANDOM_SAMPLES))
    return measure_front_end(onnx.load(path), feeds, facts)


def require_calibration(evidence: Evidence) -> Array:
    """The features that ``int8`` is calibrated with.

    Raises:
        ExportError: there are none, or some are not finite.
    """
    if evidence.calibration is None or not len(evidence.calibration):
        raise ExportError(
            "there are no features to calibrate int8 with", code="export_unverified", hint=_SPLITS
        )
    if not np.isfinite(evidence.calibration).all():
        raise ExportError(
            "features that int8 is calibrated with are not finite",
            code="export_precision",
            hint="Look for the recording behind them, or use fp32 or fp16.",
        )
    return evidence.calibration


def _require_judge(evidence: Evidence) -> Judge:
    if evidence.judge is None:
        raise ExportError(
            "there is nothing to measure the model's accuracy on", code="export_unverified", hint=_SPLITS
        )
    return evidence.judge


def _require_iq(evidence: Evidence) -> Feeds:
    if evidence.iq is None or not len(evidence.iq[IQ_NAME]):
        raise ExportError(
            "there is no recording to try the front end on", code="export_unverified", hint=_SPLITS
        )
    return evidence.iq
