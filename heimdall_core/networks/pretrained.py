"""Published ImageNet weights for a backbone: from the Hugging Face hub, its cache or an operator's folder."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from heimdall_core.domain.errors import DataError, InfrastructureError
from heimdall_core.networks.stem import STEM, fit_stem

_SHAPE = ("model_type", "depths", "hidden_sizes", "patch_size")
"""What of a configuration decides the shapes of all weights but the stem's."""


def load_pretrained(backbone: PreTrainedModel, weights: str, folder: Path | None = None) -> None:
    """Gives a backbone published weights; the three colours of their stem become its receivers.

    Args:
        backbone: of ``create_backbone``; its configuration says what fits.
        weights: the repository on the hub, such as ``facebook/convnextv2-atto-1k-224``.
        folder: where the operator keeps a folder for each size, named as the repository without its owner;
            None: the hub, or its cache (``HF_HOME``).

    Raises:
        InfrastructureError: the hub cannot be reached and its cache has no copy, or the folder is not there.
        DataError: what is there is damaged, or of another size.
    """
    if folder is not None:
        place = folder / weights.rpartition("/")[2]
        _require_folder(place, weights)
    location = weights if folder is None else str(place)
    state = _translated(backbone, location, is_local=folder is not None).state_dict()
    state[f"{STEM}.weight"] = fit_stem(state[f"{STEM}.weight"], [None] * backbone.config.num_channels)
    backbone.load_state_dict(state)


def _require_folder(place: Path, weights: str) -> None:
    if not place.is_dir():
        raise InfrastructureError(
            f"no folder {place} with pretrained weights",
            code="pretrained_unavailable",
            hint=f"Put config.json and model.safetensors of huggingface.co/{weights} there, or unset "
            "HEIMDALL_WORKER__PRETRAINED_DIR to use the hub.",
        )


def _translated(backbone: PreTrainedModel, location: str, *, is_local: bool) -> PreTrainedModel:
    """``_read`` with the errors of this program."""
    try:
        return _read(backbone, location, local_files_only=is_local)
    except DataError:
        raise
    except Exception as error:  # transformers and safetensors raise whatever they trip over
        first_line = str(error).strip().partition("\n")[0]
        if isinstance(error, OSError) and not is_local:
            raise InfrastructureError(
                f"{location} cannot be fetched: {first_line}",
                code="pretrained_unavailable",
                hint="Give the worker access to huggingface.co, fill its cache (HF_HOME), or name a folder "
                "with the weights in HEIMDALL_WORKER__PRETRAINED_DIR.",
            ) from error
        raise DataError(
            f"{location} holds no readable weights: {first_line}",
            code="pretrained_unreadable",
            hint="Fetch its files again.",
        ) from error


def _read(backbone: PreTrainedModel, location: str, *, local_files_only: bool) -> PreTrainedModel:
    """The pretrained model, of the class of ``backbone``; DataError unless all of its weights fit."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # else it tells at length that the classifier is left out
    stated, _ = type(backbone.config).get_config_dict(location, local_files_only=local_files_only)
    wanted = {"model_type": backbone.config.model_type, **backbone.config.to_dict()}
    if differing := [key for key in _SHAPE if stated.get(key, wanted[key]) != wanted[key]]:
        raise _other_size(
            location, ", ".join(f"{key} is {stated[key]}, not {wanted[key]}" for key in differing)
        )
    loaded: Any = type(backbone).from_pretrained(
        location,
        local_files_only=local_files_only,
        use_safetensors=True,  # never a pickle
        output_loading_info=True,
        dtype=torch.float32,
    )
    model: PreTrainedModel = loaded[0]
    if missing := sorted(loaded[1]["missing_keys"]):
        raise _other_size(location, f"it lacks {', '.join(missing[:3])}")
    return model


def _other_size(location: str, what: str) -> DataError:
    return DataError(
        f"{location} holds the weights of another network: {what}",
        code="pretrained_of_other_size",
        hint="Name each folder after the repository whose files it holds.",
    )
