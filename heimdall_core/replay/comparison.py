"""Whether two trainings ended in the same weights and, where not, how far apart they are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heimdall_core.domain.errors import DataError, HeimdallError
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.storage.s3 import hash_file
from heimdall_core.training.network import read_weights
from heimdall_core.training.provenance import digest_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsVerdict:
    """The weights of then beside those of now."""

    agree: bool
    """Bit for bit, names and types included."""
    then_sha256: str
    now_sha256: str
    max_difference: float | None = None
    """Greatest absolute difference of one number; None: the weights of then are gone, or of other shapes."""
    worst: str | None = None
    """The tensor that has it."""
    num_different: int | None = None
    """Tensors that are not the same bits."""
    reason: str | None = None
    """Why no distance is known."""


def compare_weights(
    weights: Mapping[str, Tensor],
    *,
    recorded_sha256: str | None,
    former: StoredObject | None,
    store: ObjectStore,
    folder: Path,
) -> WeightsVerdict:
    """Compares by digest, and tensor by tensor where that differs or was not recorded.

    Args:
        weights: those of now.
        recorded_sha256: ``digest_weights`` of those of then, if the manifest says it.
        former: the file of then's weights.
        store: where that lies.
        folder: takes it while it is read.

    Raises:
        DataError: the manifest has no digest, and the file is gone or damaged.
    """
    now_sha256 = digest_weights(weights)
    if recorded_sha256 == now_sha256:
        return WeightsVerdict(
            agree=True, then_sha256=now_sha256, now_sha256=now_sha256, max_difference=0.0, num_different=0
        )
    try:
        then = _fetch(former, store, folder)
    except HeimdallError as error:
        if recorded_sha256 is None:
            raise
        return WeightsVerdict(
            agree=False, then_sha256=recorded_sha256, now_sha256=now_sha256, reason=error.message
        )
    then_sha256 = recorded_sha256 or digest_weights(then)
    if then_sha256 == now_sha256:
        return WeightsVerdict(
            agree=True, then_sha256=now_sha256, now_sha256=now_sha256, max_difference=0.0, num_different=0
        )
    return _distance(then, weights, then_sha256, now_sha256)


def compare_metrics(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """``then``, ``now`` and ``difference`` of each number that either has."""
    return {name: _pair(then.get(name), now.get(name)) for name in sorted(then.keys() | now.keys())}


def _pair(then: Any, now: Any) -> dict[str, float | None]:
    known = [value for value in (then, now) if isinstance(value, int | float) and math.isfinite(value)]
    difference = float(now) - float(then) if len(known) == len((then, now)) else None
    return {"then": then, "now": now, "difference": difference}


def _fetch(former: StoredObject | None, store: ObjectStore, folder: Path) -> dict[str, Tensor]:
    if former is None:
        raise DataError(
            "the manifest names no weights", code="weights_missing", hint="Nothing to compare with."
        )
    path = folder / "then.ckpt"
    store.get_file(former.uri, path)
    if hash_file(path)[0] != former.sha256:
        raise DataError(f"{former.uri} has changed since it was recorded", code="object_changed")
    return read_weights(path).weights


def _distance(
    then: Mapping[str, Tensor], now: Mapping[str, Tensor], then_sha256: str, now_sha256: str
) -> WeightsVerdict:
    shapes = [{name: tensor.shape for name, tensor in weights.items()} for weights in (then, now)]
    if shapes[0] != shapes[1]:
        return WeightsVerdict(
            agree=False, then_sha256=then_sha256, now_sha256=now_sha256, reason="they are of other networks"
        )
    apart = {name: _largest(then[name], now[name]) for name in now}
    worst = max(apart, key=lambda name: (not math.isfinite(apart[name]), apart[name]))
    return WeightsVerdict(
        agree=False,
        then_sha256=then_sha256,
        now_sha256=now_sha256,
        max_difference=apart[worst],
        worst=worst,
        num_different=sum(not torch.equal(then[name], now[name]) for name in now),
    )


def _largest(then: Tensor, now: Tensor) -> float:
    apart = (then.double() - now.double()).abs()
    return float(apart.max()) if apart.numel() else 0.0
