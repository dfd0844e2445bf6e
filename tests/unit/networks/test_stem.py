import torch

from heimdall_core.networks.backbone import create_backbone
from heimdall_core.networks.stem import STEM, fit_stem, train_stem

WEIGHT = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def response(weight, image):
    return torch.nn.functional.conv2d(image, weight)


def test_the_same_channels_in_another_order_are_exchanged_and_nothing_else():
    assert torch.equal(fit_stem(WEIGHT, [2, 0, 1]), WEIGHT[:, [2, 0, 1]])


def test_new_channels_get_the_mean_and_known_ones_are_taken_over():
    swapped = fit_stem(WEIGHT, [0, None, 2])
    assert torch.equal(swapped[:, [0, 2]], WEIGHT[:, [0, 2]])
    torch.testing.assert_close(swapped[:, 1], WEIGHT.mean(dim=1))


def test_an_image_that_is_the_same_in_each_channel_gets_the_response_that_it_had():
    plane = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    before = response(WEIGHT, plane.expand(1, 3, 8, 8))
    for sources in ([None] * 7, [None], [0, 1, 2, None, None]):
        after = response(fit_stem(WEIGHT, sources), plane.expand(1, len(sources), 8, 8))
        torch.testing.assert_close(after, before)


def test_only_the_stem_of_a_frozen_backbone_trains():
    backbone = create_backbone("micro", 4).requires_grad_(requires_grad=False)
    train_stem(backbone)
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert trained == {f"{STEM}.weight", f"{STEM}.bias"}
