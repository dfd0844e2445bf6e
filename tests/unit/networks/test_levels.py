"""The level path reads a set of receivers: what it may not depend on, and what it must."""

import pytest
import torch

from heimdall_core.features import rows
from heimdall_core.networks import LocalizationNet
from heimdall_core.networks.levels import LevelEncoder

#: East, north (100 km) and altitude (km) of four receivers; the last two 2 km apart.
SITES = torch.tensor([[-0.6, 0.1, 0.6], [0.7, 0.6, 0.1], [0.1, -0.4, 0.3], [0.12, -0.4, 0.3]])
_SNR, _PRESENCE = rows.SNR_ROW - rows.FIRST_SIDE_ROW, rows.PRESENCE_ROW - rows.FIRST_SIDE_ROW


def encoder(sites: torch.Tensor | None = SITES) -> LevelEncoder:
    torch.manual_seed(0)
    levels = LevelEncoder(4 if sites is None else len(sites), scale_km=50.0).eval()
    if sites is not None:
        levels.sites.copy_(sites)
    return levels


def side_rows(batch: int = 5, sites: torch.Tensor = SITES) -> torch.Tensor:
    side = torch.randn(batch, len(sites), rows.NUM_SIDE_ROWS, generator=torch.Generator().manual_seed(1))
    side[..., _PRESENCE] = 1.0
    side[..., -3:] = sites
    return side


def without(side: torch.Tensor, receiver: int) -> torch.Tensor:
    side = side.clone()
    side[:, receiver] = 0.0
    return side


def differs(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a - b).abs().max()) > 1e-3


@torch.inference_mode()
@pytest.mark.parametrize("sites", [SITES, None])
def test_the_order_of_the_receivers_does_not_matter(sites):
    levels, side = encoder(sites), without(side_rows(), 1)
    torch.testing.assert_close(levels.encode(side[:, [2, 0, 3, 1]]), levels.encode(side))


@torch.inference_mode()
@pytest.mark.parametrize("sites", [SITES, None])
def test_channels_that_no_receiver_uses_do_not_matter(sites):
    levels, side = encoder(sites), side_rows()
    torch.testing.assert_close(levels.encode(torch.cat([side, 0 * side], dim=1)), levels.encode(side))


def test_no_weight_depends_on_the_number_of_receivers():
    few, many = (dict(LevelEncoder(n, scale_km=50.0).named_parameters()) for n in (2, 25))
    assert {n: p.shape for n, p in few.items()} == {n: p.shape for n, p in many.items()}


@torch.inference_mode()
def test_two_receivers_two_kilometres_apart_are_told_apart():
    levels, side = encoder(), side_rows()
    exchanged = side.clone()
    exchanged[:, [2, 3], -3:] = side[:, [3, 2], -3:]
    assert differs(levels.encode(exchanged), levels.encode(side))


@torch.inference_mode()
def test_it_matters_who_it_is_that_keeps_silent():
    levels, side = encoder(), side_rows()
    heard = levels.encode(side[:, :2])
    only_three = LevelEncoder(3, scale_km=50.0).eval()
    only_three.load_state_dict({**levels.state_dict(), "sites": SITES[:3]})
    assert differs(only_three.encode(side[:, :2]), heard)


@torch.inference_mode()
def test_without_sites_nobody_is_awaited():
    levels, side = encoder(None), side_rows()
    torch.testing.assert_close(levels.encode(without(side, 3)), levels.encode(side[:, :3]))


@torch.inference_mode()
def test_a_site_is_recognised_in_half_precision():
    levels, side = encoder(), side_rows()
    rounded = side.clone()
    rounded[..., -3:] = side[..., -3:].half().float()
    assert bool(levels._stands_at(rounded).diagonal(dim1=1, dim2=2).all())
    assert int(levels._stands_at(rounded).sum()) == len(side) * len(SITES)


@torch.inference_mode()
def test_the_exact_place_of_an_unknown_receiver_is_not_read():
    levels, side = encoder(SITES[:3]), side_rows()
    moved = side.clone()
    moved[:, 3, -3] += 0.02
    coarse = (levels.encode(moved) - levels.encode(side)).abs().max()
    known = encoder(torch.cat([SITES, SITES[3:] + torch.tensor([0.02, 0.0, 0.0])]))
    silent = (known.encode(moved) - known.encode(side)).abs().max()
    assert 0 < float(coarse) < float(silent)


@torch.inference_mode()
def test_a_receiver_far_from_every_site_is_not_listened_to():
    levels, side = encoder(SITES[[0, 2]]), side_rows()
    torch.testing.assert_close(levels.encode(side[:, :3]), levels.encode(without(side, 1)[:, :3]))


@torch.inference_mode()
def test_a_receiver_beside_a_site_is_listened_to():
    levels, side = encoder(SITES[:3]), side_rows()
    assert differs(levels.encode(side), levels.encode(without(side, 3)))


@torch.inference_mode()
def test_a_network_without_sites_listens_to_everybody():
    levels, side = encoder(None), side_rows()
    assert all(differs(levels.encode(side), levels.encode(without(side, r))) for r in range(4))


@torch.inference_mode()
def test_another_origin_of_the_plane_is_made_up_for():
    levels, side = encoder(), without(side_rows(), 0)
    before = levels.encode(side)
    moved, shift_km = without(side_rows(sites=SITES + torch.tensor([0.3, -0.2, 0.0])), 0), (30.0, -20.0)
    levels.sites.copy_(SITES + torch.tensor([0.3, -0.2, 0.0]))
    levels.translate(shift_km)
    torch.testing.assert_close(levels.encode(moved), before, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_nobody_at_all_is_answered_with_finite_numbers():
    assert torch.isfinite(encoder().encode(0 * side_rows())).all()
    assert torch.isfinite(encoder(None).encode(0 * side_rows())).all()


def test_training_forgets_sites_as_the_seed_says():
    levels, side = encoder().train(), side_rows(200)
    with torch.inference_mode():
        torch.manual_seed(3)
        first, other = levels.encode(side), levels.encode(side)
        torch.manual_seed(3)
        again = levels.encode(side)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sites_are_saved_with_the_weights():
    net = LocalizationNet(4, origin=(44.95, 8.1))
    net.set_sites(SITES)
    restored = LocalizationNet(4, origin=(44.95, 8.1))
    restored.load_state_dict(net.state_dict())
    assert torch.equal(restored.levels.sites, SITES)


def test_sites_of_another_number_of_receivers_are_refused():
    with pytest.raises(ValueError, match="3 positions for 4 receivers"):
        LocalizationNet(4, origin=(44.95, 8.1)).set_sites(SITES[:3])
