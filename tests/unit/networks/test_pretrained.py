"""Published weights, stood in for by random ones of the same form that a folder holds."""

import shutil

import pytest
import torch
from transformers import ConvNextV2ForImageClassification

from heimdall_core.domain.errors import DataError, InfrastructureError
from heimdall_core.networks.backbone import SIZES, create_backbone, start_pretrained
from heimdall_core.networks.stem import STEM
from heimdall_core.training.network import Construction
from heimdall_core.training.provenance import describe_pretrained

FOLDER = "convnextv2-atto-1k-224"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder as an operator fills it, and the weights of its only size: three colours, with a classifier."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(7)
    model = ConvNextV2ForImageClassification(create_backbone("atto", 3).config)
    model.save_pretrained(folder / FOLDER)
    return folder, model.convnextv2.state_dict()


@pytest.fixture
def changed(published, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(published[0], tmp_path / "changed")


def refused(error, folder, *, name="atto"):
    with pytest.raises(error) as caught:
        start_pretrained(create_backbone(name, 5), name, folder)
    return caught.value


def test_a_hub_out_of_reach_is_worth_another_try(monkeypatch):
    def unreachable(*_args, **_kwargs):
        raise OSError("We couldn't connect to 'https://huggingface.co'.\nCheck your connection.")

    monkeypatch.setattr(type(create_backbone("atto", 1).config), "get_config_dict", unreachable)
    error = refused(InfrastructureError, None)
    assert (error.stable_code, error.retryable) == ("pretrained_unavailable", True)
    assert "facebook/convnextv2-atto-1k-224" in error.message
    assert "\n" not in error.message
    assert "HF_HOME" in error.hint


def test_a_folder_without_the_size_is_named(published):
    error = refused(InfrastructureError, published[0], name="pico")
    assert error.stable_code == "pretrained_unavailable"
    assert str(published[0] / "convnextv2-pico-1k-224") in error.message


def test_a_folder_of_another_size_is_refused_with_what_differs(changed):
    (changed / FOLDER).rename(changed / "convnextv2-pico-1k-224")
    error = refused(DataError, changed, name="pico")
    assert error.stable_code == "pretrained_of_other_size"
    assert "hidden_sizes is [40, 80, 160, 320], not [64, 128, 256, 512]" in error.message


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"{", None])
def test_a_damaged_folder_is_named(changed, name, content):
    (changed / FOLDER / name).unlink()
    if content is not None:
        (changed / FOLDER / name).write_bytes(content)
    error = refused(DataError, changed)
    assert error.stable_code == "pretrained_unreadable"
    assert str(changed / FOLDER) in error.message


def test_weights_that_lack_a_tensor_are_refused(changed, published):
    from safetensors.torch import load_file, save_file

    path = changed / FOLDER / "model.safetensors"
    weights = load_file(path)
    del weights["convnextv2.encoder.stages.0.layers.0.dwconv.weight"]
    save_file(weights, path, metadata={"format": "pt"})
    assert refused(DataError, changed).stable_code == "pretrained_of_other_size"


@pytest.mark.parametrize("num_receivers", [2, 7])
def test_all_weights_are_the_published_ones_and_the_stem_is_their_mean_over_the_colours(
    published, num_receivers
):
    folder, weights = published
    backbone = create_backbone("atto", num_receivers)
    start_pretrained(backbone, "atto", folder)
    found = backbone.state_dict()
    stem = found.pop(f"{STEM}.weight")
    assert found.keys() == weights.keys() - {f"{STEM}.weight"}
    assert all(torch.equal(found[name], weights[name]) for name in found)
    for channel in stem.unbind(1):
        torch.testing.assert_close(channel, weights[f"{STEM}.weight"].mean(1) * 3 / num_receivers)


def test_the_heads_are_the_seeds_whatever_the_backbone_starts_from(published):
    def built(**options):
        torch.manual_seed(3)
        shape = Construction(
            num_receivers=4, backbone="atto", covariance="full", origin=(45.0, 8.0), plane_scale_km=30.0
        )
        return shape.build(**options)

    fresh, started = built(), built(pretrained=True, pretrained_dir=published[0])
    assert torch.equal(fresh.position_head.weight, started.position_head.weight)
    name = "encoder.stages.1.layers.0.pwconv1.weight"
    assert torch.equal(started.backbone.state_dict()[name], published[1][name])


def test_the_record_of_a_run_tells_which_published_weights_it_started_from(published, changed):
    def record(folder):
        net = Construction(
            num_receivers=4, backbone="atto", covariance="full", origin=(45.0, 8.0), plane_scale_km=30.0
        ).build(pretrained=True, pretrained_dir=folder)
        return describe_pretrained(net, "atto")

    then, again = record(published[0]), record(published[0])
    assert then == again
    assert then["weights"] == "facebook/convnextv2-atto-1k-224"
    torch.manual_seed(8)
    ConvNextV2ForImageClassification(create_backbone("atto", 3).config).save_pretrained(changed / FOLDER)
    assert record(changed)["backbone"]["sha256"] != then["backbone"]["sha256"]


def test_every_published_size_names_its_repository():
    assert {size.weights.partition("/")[0] for size in SIZES.values() if size.weights} == {"facebook"}
