"""Weights in a network of other receivers, another origin, another covariance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from heimdall_core.domain.errors import DataError, NotFound
from heimdall_core.domain.ports import StoredObject
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.stem import STEM
from heimdall_core.recordings.geodesy import to_degrees, to_plane_km
from heimdall_core.storage import FolderStore
from heimdall_core.training.network import Construction, SavedWeights, read_weights, save_weights
from heimdall_core.training.warm_start import fetch_weights, start_from

SOURCE = Construction(
    num_receivers=3,
    backbone="micro",
    covariance="full",
    origin=(44.95, 8.10),
    plane_scale_km=40.0,
    receivers=("west", "north", "east"),
)


@pytest.fixture
def saved() -> SavedWeights:
    torch.manual_seed(5)
    weights = {name: tensor.clone() for name, tensor in SOURCE.build().state_dict().items()}
    weights["calibration_scale"] = torch.tensor(1.7)
    return SavedWeights(weights=weights, construction=SOURCE, epoch=3)


def started(saved: SavedWeights, **changes: object) -> LocalizationNet:
    construction = replace(SOURCE, **changes)  # type: ignore[arg-type]
    torch.manual_seed(6)
    net = construction.build()
    start_from(net, saved, construction)
    return net.eval()


def of_receivers(*names: str) -> dict[str, object]:
    return {"receivers": names, "num_receivers": len(names)}


def heard(num_receivers: int) -> Tensor:
    inputs = torch.randn(4, num_receivers, 128, 32, generator=torch.Generator().manual_seed(0))
    inputs[:, :, 123] = 1.0
    return inputs


def original(saved: SavedWeights) -> LocalizationNet:
    net = SOURCE.build()
    net.load_state_dict({**saved.weights, "calibration_scale": torch.tensor(1.0)})
    return net.eval()


def test_another_backbone_is_refused_with_what_differs(saved: SavedWeights) -> None:
    with pytest.raises(DataError, match="their backbone is micro, not atto") as refusal:
        started(saved, backbone="atto")
    assert refusal.value.stable_code == "init_weights_do_not_fit"


def test_a_mixture_is_not_squeezed_into_fewer_components(saved: SavedWeights) -> None:
    mixed = replace(saved, construction=replace(SOURCE, components=4))
    with pytest.raises(DataError, match="4 components, not 1") as refusal:
        started(mixed)
    assert refusal.value.stable_code == "init_weights_do_not_fit"


@pytest.mark.parametrize("shift", [(44.95, 8.10), (45.05, 8.30)])
def test_a_mixture_that_starts_from_a_gaussian_says_nearly_the_same(
    saved: SavedWeights, shift: tuple[float, float]
) -> None:
    mixed = started(saved, components=4, origin=shift).plane(heard(3))
    single = started(saved, origin=shift).plane(heard(3))
    assert mixed.components is not None
    assert torch.pdist(mixed.components.mean_km[0]).min() > 0.1
    torch.testing.assert_close(mixed.mean_km, single.mean_km, atol=4.0, rtol=0)
    torch.testing.assert_close(mixed.components.sigma_km[:, 2], single.sigma_km)


def test_a_mixture_goes_on_as_the_mixture_it_was() -> None:
    torch.manual_seed(5)
    construction = replace(SOURCE, components=4)
    net = construction.build()
    saved = SavedWeights(weights=net.state_dict(), construction=construction, epoch=3)
    found, wanted = started(saved, components=4)(heard(3)), net.eval()(heard(3))
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_weights_that_do_not_name_their_receivers_are_refused(saved: SavedWeights) -> None:
    nameless = replace(saved, construction=replace(SOURCE, receivers=()))
    with pytest.raises(DataError, match="which receivers"):
        started(nameless)


@pytest.mark.parametrize("name", ["trunk.gate", "position_head.weight", f"backbone.{STEM}.weight"])
def test_weights_of_another_version_of_the_network_are_refused_by_name(
    saved: SavedWeights, name: str
) -> None:
    absent = {k: v for k, v in saved.weights.items() if k != name}
    other = {**saved.weights, name: torch.zeros(2, 3, 1, 1)}
    for weights in (absent, other):
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            started(replace(saved, weights=weights))


def test_weights_that_are_gone_or_changed_are_not_started_from(saved: SavedWeights, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    net = SOURCE.build()
    save_weights(tmp_path / "best.ckpt", net, SOURCE, epoch=3, dataset_digest="d")
    stored = store.put_file("s3://models/best.ckpt", tmp_path / "best.ckpt")
    assert fetch_weights(stored, store, tmp_path / "work" / "init.ckpt").construction == SOURCE
    with pytest.raises(DataError) as refusal:
        fetch_weights(replace(stored, sha256="0" * 64), store, tmp_path / "init.ckpt")
    assert refusal.value.stable_code == "object_changed"
    absent = StoredObject(uri="s3://models/gone.ckpt", sha256="0" * 64, num_bytes=1)
    with pytest.raises(NotFound):
        fetch_weights(absent, store, tmp_path / "init.ckpt")


def test_on_the_same_receivers_the_network_is_the_one_that_was_trained(saved: SavedWeights) -> None:
    found, wanted = started(saved).plane(heard(3)), original(saved).plane(heard(3))
    assert torch.equal(found.mean_km, wanted.mean_km)
    assert torch.equal(found.sigma_km, wanted.sigma_km)


def test_the_calibration_starts_anew(saved: SavedWeights) -> None:
    assert float(started(saved).calibration_scale) == 1.0


def test_receivers_are_known_by_name_not_by_place(saved: SavedWeights) -> None:
    exchanged = started(saved, **of_receivers("east", "west", "north"))
    inputs = heard(3)
    found = exchanged.plane(inputs[:, [2, 0, 1]])
    for a, b in zip(found, original(saved).plane(inputs), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("receivers", [("west", "new", "north", "east"), ("east",), ("new",)])
def test_all_that_belongs_to_no_receiver_is_taken_over(
    saved: SavedWeights, receivers: tuple[str, ...]
) -> None:
    found = started(saved, **of_receivers(*receivers)).state_dict()
    own = {"calibration_scale", "levels.sites", f"backbone.{STEM}.weight"}
    assert found.keys() == saved.weights.keys()
    assert all(torch.equal(found[name], saved.weights[name]) for name in found.keys() - own)


def test_the_sites_are_those_of_the_new_dataset(saved: SavedWeights) -> None:
    saved.weights["levels.sites"].fill_(9.0)
    construction = replace(SOURCE, **of_receivers("west", "south"))  # type: ignore[arg-type]
    net = construction.build()
    sites = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    net.set_sites(sites)
    start_from(net, saved, construction)
    assert torch.equal(net.levels.sites, sites)


def test_who_is_new_and_who_is_gone_is_told(saved: SavedWeights) -> None:
    construction = replace(SOURCE, receivers=("south", "west"), num_receivers=2)
    start = start_from(construction.build(), saved, construction)
    assert (start.receivers_new, start.receivers_gone) == (("south",), ("north", "east"))
    assert start.origin_shift_km == 0.0


@pytest.mark.parametrize(("source", "wanted"), [("full", "diagonal"), ("diagonal", "full")])
def test_the_other_covariance_keeps_the_standard_deviations(source: str, wanted: str) -> None:
    torch.manual_seed(5)
    trained = replace(SOURCE, covariance=source)  # type: ignore[arg-type]
    net = trained.build().eval()
    saved = SavedWeights(weights=net.state_dict(), construction=trained, epoch=1)
    found = started(saved, covariance=wanted).plane(heard(3))
    torch.testing.assert_close(found.sigma_km, net.plane(heard(3)).sigma_km)
    if wanted == "full":
        assert found.correlation is not None
        assert not found.correlation.any()


def test_under_another_origin_the_places_stay_where_they_were(saved: SavedWeights) -> None:
    """What the backbone reads of the side rows moves with the origin, so that is kept out."""
    origin = (45.05, 8.25)
    construction = replace(SOURCE, origin=origin)
    net = construction.build()
    start = start_from(net, saved, construction)
    assert start.origin_shift_km == pytest.approx(16.2, abs=0.2)
    shift_km = np.array(to_plane_km(*SOURCE.origin, origin=origin))
    inputs, pooled = heard(3), torch.zeros(4, net.trunk.pooled.in_features)
    before = embedded(original(saved), inputs, pooled)
    inputs[:, :, 125:127] += torch.from_numpy(shift_km / 100.0).float()[:, None]
    after = embedded(net.eval(), inputs, pooled)
    degrees = to_degrees(*before.T, origin=SOURCE.origin)
    wanted = np.stack(to_plane_km(*degrees, origin=origin), axis=1)
    assert np.abs(after - wanted).max() < 0.3


def embedded(net: LocalizationNet, inputs: Tensor, pooled: Tensor) -> np.ndarray:
    with torch.inference_mode():
        positions = net.position_head(net.trunk(pooled, net.levels(inputs)))
    return positions.double().numpy() * net.plane_scale_km


def test_in_another_region_the_heads_are_left_alone(saved: SavedWeights) -> None:
    far = started(saved, origin=(52.0, 13.0))
    assert torch.equal(far.position_head.bias, saved.weights["position_head.bias"])


def test_a_file_of_an_earlier_version_is_still_read(saved: SavedWeights, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    save_weights(path, SOURCE.build(), SOURCE, epoch=3)
    content = torch.load(path, weights_only=True)
    del content["construction"]["receivers"]
    torch.save(content, path)
    found = read_weights(path)
    assert found.construction == replace(SOURCE, receivers=())
    found.require_fit(SOURCE, "best.ckpt")
