"""The checkpoint that a run begins with: read and judged before anything else is done."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.domain.manifest import Manifest
from heimdall_core.domain.ports import Checkpoint
from heimdall_core.domain.spec import ModelSpec
from heimdall_core.local.run_files import RunStore

if TYPE_CHECKING:
    from heimdall_core.training.network import Construction

_FOREIGN_HINT = "Give best.ckpt or step-*.ckpt of a checkpoint folder of Heimdall."
_OTHER_NETWORK_HINT = (
    "Leave out --backbone, and give the recordings and model settings that it was trained with."
)


def network_of(path: Path, *, resumable: bool) -> dict[str, Any]:
    """The members of ``model`` that a checkpoint's weights decide.

    Raises:
        DataError: the file is missing, damaged or something else; or holds weights alone though it is to
            be ``resumable``.
    """
    construction = _construction(path)
    if resumable:
        _training_state(path)
    network = {
        "backbone": construction.backbone,
        "covariance": construction.covariance,
        "components": construction.components,
    }
    # The median of one Gaussian belongs to a radio map, which the weights do not bring along.
    return network | ({"point_estimate": construction.point_estimate} if construction.components > 1 else {})


def require_same_network(path: Path, model: ModelSpec, manifest: Manifest) -> None:
    """Raises DataError unless the checkpoint's network is that of the run."""
    found = asdict(_construction(path))
    wanted = {
        "backbone": model.backbone,
        "covariance": model.covariance,
        "components": model.components,
        "point_estimate": model.point_estimate,
        "num_receivers": len(manifest.receivers),
        "origin": (manifest.origin_latitude, manifest.origin_longitude),
    }
    if differing := [key for key, value in wanted.items() if found[key] != value]:
        told = ", ".join(f"{key} is {found[key]}, not {wanted[key]}" for key in differing)
        raise DataError(
            f"{path} belongs to another network or dataset: {told}",
            code="checkpoint_of_other_network",
            hint=_OTHER_NETWORK_HINT,
        )


def require_fitting(path: Path, model: ModelSpec) -> None:
    """Raises InvalidRequest unless a run of ``model`` can start from the weights."""
    found = _construction(path)
    if found.backbone != model.backbone:
        raise InvalidRequest(
            f"--init-from: {path} has the backbone {found.backbone}, not {model.backbone}",
            code="init_from_does_not_fit",
            hint=f"Leave out --backbone (model.backbone), or say {found.backbone}.",
        )
    if found.components not in {1, model.components}:
        raise InvalidRequest(
            f"--init-from: {path} predicts {found.components} components, not {model.components}",
            code="init_from_does_not_fit",
            hint=f"Leave out model.components, or say {found.components}.",
        )


def plane_scale_of(path: Path) -> float:
    """The length, km, that the heads of a checkpoint's network count in."""
    return _construction(path).plane_scale_km


def resume_point(path: Path, store: RunStore, *, epochs: int) -> Checkpoint:
    """The durable checkpoint to train on from, as an object of the run's store.

    Raises:
        InvalidRequest: more than ``epochs`` are behind it.
    """
    state = _training_state(path)
    done = int(state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    if done > epochs:
        raise InvalidRequest(
            f"--epochs {epochs}: {path} has {done} epochs behind it",
            code="checkpoint_too_far",
            hint=f"Give --epochs {done} or more, or use --export-only.",
        )
    return Checkpoint(object=store.add_file(path), epoch=done, step=int(state["global_step"]))


def _training_state(path: Path) -> dict[str, Any]:
    from heimdall_core.training.checkpoints import load_checkpoint

    content = load_checkpoint(path)
    if "loops" not in content:
        raise DataError(
            f"{path} holds weights alone, nothing to train on from",
            code="checkpoint_not_resumable",
            hint="Give a step-*.ckpt, or use --export-only.",
        )
    return content


def _construction(path: Path) -> "Construction":
    from heimdall_core.training.network import read_weights

    if not path.is_file():
        raise DataError(f"no checkpoint {path}", code="checkpoint_not_found", hint=_FOREIGN_HINT)
    try:
        return read_weights(path).construction
    except (DataError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged or no checkpoint of Heimdall",
            code="checkpoint_unreadable",
            hint=_FOREIGN_HINT,
        ) from error
