"""A training that starts from the weights of another one, whose receivers and plane may be others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from heimdall_core.domain.errors import DataError
from heimdall_core.domain.ports import ObjectStore, StoredObject
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.stem import STEM, fit_stem
from heimdall_core.recordings.geodesy import to_plane_km
from heimdall_core.storage.s3 import hash_file
from heimdall_core.training.network import Construction, SavedWeights, read_weights

_STEM_WEIGHT = f"backbone.{STEM}.weight"
_OWN = ("to_degrees.", "levels.sites", "calibration_scale")
"""What belongs to the new plane, the new receivers, and what is yet to be trained: it stays as built."""
_HEADS = ("position_head.", "uncertainty_head.")
_APART = 0.1
"""Of the places where the components of a fresh mixture begin."""
_LARGEST_SHIFT_KM = 150.0
"""To here another origin is a translation of the plane within a degree or two; beyond lies another region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """What became of weights in a network of other receivers."""

    receivers_new: tuple[str, ...]
    """Of this training, unknown to the weights."""
    receivers_gone: tuple[str, ...]
    """Known to the weights, not of this training."""
    origin_shift_km: float
    """Between the origins of the two planes."""


def fetch_weights(stored: StoredObject, store: ObjectStore, path: Path) -> SavedWeights:
    """Downloads weights to start from.

    Raises:
        DataError: they are damaged, or not what was recorded.
        NotFound: they are gone.
        StorageUnavailable: the store did not answer.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    store.get_file(stored.uri, path)
    if hash_file(path)[0] != stored.sha256:
        raise DataError(f"{stored.uri} has changed since it was recorded", code="object_changed")
    return read_weights(path)


def start_from(net: LocalizationNet, saved: SavedWeights, construction: Construction) -> WarmStart:
    """Gives a new network the weights of a trained one, receiver by receiver.

    Channels of the stem follow their receiver's name (``fit_stem``); nothing else counts receivers. Another
    origin is made up for where it is a translation. Of the other covariance the standard deviations are kept;
    a correlation that is new starts at 0. A mixture that starts from a Gaussian has it for each component,
    a little apart. The calibration starts at 1.

    Args:
        net: built by ``construction``; it has been told its sites.
        saved: the weights to start from.
        construction: with the receivers' names, and the plane scale of ``saved``.

    Raises:
        DataError: the weights cannot fit: another backbone, or another version of the network.
    """
    source = saved.construction
    _require_fitting(saved, construction)
    sources = [source.receivers.index(r) if r in source.receivers else None for r in construction.receivers]
    net.load_state_dict(_fitted_state(net, saved, sources))
    shift_km = _shift_km(source, construction)
    if math.hypot(*shift_km) <= _LARGEST_SHIFT_KM:
        _translate(net, shift_km)
    return WarmStart(
        receivers_new=tuple(r for r in construction.receivers if r not in source.receivers),
        receivers_gone=tuple(r for r in source.receivers if r not in construction.receivers),
        origin_shift_km=math.hypot(*shift_km),
    )


def _require_fitting(saved: SavedWeights, construction: Construction) -> None:
    source = saved.construction
    if source.components not in {1, construction.components}:
        raise _misfit(f"they predict {source.components} components, not {construction.components}")
    if source.backbone != construction.backbone:
        raise _misfit(f"their backbone is {source.backbone}, not {construction.backbone}")
    if len(source.receivers) != source.num_receivers:
        raise _misfit("they do not say which receivers they know")


def _misfit(what: str) -> DataError:
    return DataError(
        f"the weights to start from do not fit: {what}",
        code="init_weights_do_not_fit",
        hint="Use weights of the same backbone that this version trained, of one component or as many, "
        "or leave init_from out.",
    )


def _fitted_state(
    net: LocalizationNet, saved: SavedWeights, sources: Sequence[int | None]
) -> dict[str, Tensor]:
    weights = {}
    for name, fresh in net.state_dict().items():
        found = _fitted(name, fresh, saved, sources, net.components)
        if found is None:
            raise _misfit(f"{name} has another shape or is absent")
        weights[name] = found
    return weights


def _fitted(
    name: str, fresh: Tensor, saved: SavedWeights, sources: Sequence[int | None], components: int
) -> Tensor | None:
    """What a tensor of the new network starts as; None if the weights have nothing for it."""
    is_mixed_now = components > saved.construction.components
    if is_mixed_now and name.startswith("weight_head."):
        return torch.zeros_like(fresh)
    if name.startswith(_OWN):
        return fresh
    found = saved.weights.get(name)
    if found is None:
        return None
    if name == _STEM_WEIGHT:
        found = fit_stem(found, sources)
    elif name.startswith("uncertainty_head."):
        found = _fit_uncertainty(found, len(fresh) // (components if is_mixed_now else 1))
    if is_mixed_now and name.startswith(_HEADS):
        found = found.repeat(components, *[1] * (found.ndim - 1))
        found = found + _APART * fresh if name == "position_head.bias" else found
    return found if found.shape == fresh.shape else None


def _fit_uncertainty(found: Tensor, num_rows: int) -> Tensor:
    """Rows east, north and, of a full covariance, the correlation: what is new starts at 0."""
    kept = found[:num_rows]
    return torch.cat([kept, kept.new_zeros(num_rows - len(kept), *kept.shape[1:])])


def _shift_km(source: Construction, construction: Construction) -> tuple[float, float]:
    """East and north by which a point moves from the one plane to the other."""
    east, north = to_plane_km(*source.origin, origin=construction.origin)
    return float(east), float(north)


def _translate(net: LocalizationNet, shift_km: tuple[float, float]) -> None:
    """Reads the receivers' positions, and says the transmitter's, as of the plane that was trained on."""
    net.levels.translate(shift_km)
    with torch.no_grad():
        net.position_head.bias.add_(torch.tensor(shift_km).repeat(net.components) / net.plane_scale_km)
