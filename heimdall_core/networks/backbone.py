"""ConvNeXt backbones of nine sizes, over any number of receivers."""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel
from transformers.models.convnext.configuration_convnext import ConvNextConfig
from transformers.models.convnext.modeling_convnext import ConvNextModel
from transformers.models.convnextv2.configuration_convnextv2 import ConvNextV2Config
from transformers.models.convnextv2.modeling_convnextv2 import ConvNextV2Model

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.spec import Backbone
from heimdall_core.networks.pretrained import load_pretrained


@dataclass(frozen=True, slots=True, kw_only=True)
class BackboneSize:
    """Blocks and channels of each stage, and where pretrained weights are published."""

    depths: tuple[int, ...]
    hidden_sizes: tuple[int, ...]
    is_v2: bool
    patch_size: int = 4
    weights: str | None = None


_V2_DEPTHS = (2, 2, 6, 2)
_V1_DEPTHS = (3, 3, 27, 3)


def _v2(name: str, width: int, depths: tuple[int, ...] = _V2_DEPTHS) -> BackboneSize:
    return BackboneSize(
        depths=depths,
        hidden_sizes=(width, 2 * width, 4 * width, 8 * width),
        is_v2=True,
        weights=f"facebook/convnextv2-{name}-1k-224",
    )


def _v1(name: str, width: int, depths: tuple[int, ...] = _V1_DEPTHS) -> BackboneSize:
    return BackboneSize(
        depths=depths,
        hidden_sizes=(width, 2 * width, 4 * width, 8 * width),
        is_v2=False,
        weights=f"facebook/convnext-{name}-224",
    )


#: V1: Liu et al., "A ConvNet for the 2020s", CVPR 2022, section 3. V2: Woo et al., "ConvNeXt V2", CVPR
#: 2023, appendix A. ``micro`` is ours.
SIZES: dict[Backbone, BackboneSize] = {
    "micro": BackboneSize(depths=(1, 1, 2), hidden_sizes=(20, 40, 80), is_v2=False, patch_size=8),
    "atto": _v2("atto", 40),
    "femto": _v2("femto", 48),
    "pico": _v2("pico", 64),
    "nano": _v2("nano", 80, (2, 2, 8, 2)),
    "tiny": _v1("tiny", 96, (3, 3, 9, 3)),
    "small": _v1("small", 96),
    "base": _v1("base", 128),
    "large": _v1("large", 192),
}


def create_backbone(name: Backbone, num_receivers: int, *, pretrained: bool = False) -> PreTrainedModel:
    """A ConvNeXt whose image channels are the receivers; ``pooler_output`` is (B, hidden_sizes[-1]).

    With ``pretrained`` its weights come from the Hugging Face hub or its cache.

    Raises:
        TrainingError, InfrastructureError, DataError: as ``start_pretrained``.
    """
    size = SIZES[name]
    config_class, model_class = (
        (ConvNextV2Config, ConvNextV2Model) if size.is_v2 else (ConvNextConfig, ConvNextModel)
    )
    config = config_class(
        num_channels=num_receivers,
        patch_size=size.patch_size,
        num_stages=len(size.depths),
        depths=list(size.depths),
        hidden_sizes=list(size.hidden_sizes),
    )
    backbone: PreTrainedModel = model_class(config)
    if pretrained:
        start_pretrained(backbone, name)
    return backbone


def start_pretrained(backbone: PreTrainedModel, name: Backbone, folder: Path | None = None) -> None:
    """Gives a backbone the weights that are published for its size: see ``load_pretrained``.

    Raises:
        TrainingError: none are.
        InfrastructureError: they cannot be fetched, or ``folder`` does not hold them.
        DataError: what is there is damaged, or of another size.
    """
    weights = SIZES[name].weights
    if weights is None:
        raise TrainingError(
            f"no pretrained weights are published for the backbone {name}",
            code="no_pretrained_weights",
            hint="Set model.pretrained to false or choose a larger backbone.",
        )
    load_pretrained(backbone, weights, folder)
