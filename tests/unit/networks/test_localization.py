import pytest
import torch

from heimdall_core.domain.errors import TrainingError
from heimdall_core.domain.spec import BACKBONES
from heimdall_core.features import rows
from heimdall_core.networks import GaussianNLLLoss, LocalizationNet
from heimdall_core.networks.backbone import SIZES, create_backbone
from heimdall_core.recordings.geodesy import to_degrees

ORIGIN = (44.95, 8.10)

#: Millions, as published for ImageNet without the classifier (three colours), within 3 %; micro is ours.
PUBLISHED = {
    "atto": 3.4,
    "femto": 4.8,
    "pico": 8.6,
    "nano": 15.0,
    "tiny": 27.8,
    "small": 49.5,
    "base": 87.6,
    "large": 196.2,
}


def inputs(batch: int = 3, num_receivers: int = 4) -> torch.Tensor:
    x = torch.randn(batch, num_receivers, 128, 32, generator=torch.Generator().manual_seed(0))
    x[:, :, rows.PRESENCE_ROW] = 1.0
    return x


def network(**options) -> LocalizationNet:
    torch.manual_seed(0)
    return LocalizationNet(options.pop("num_receivers", 4), origin=ORIGIN, **options)


def test_micro_has_no_pretrained_weights():
    with pytest.raises(TrainingError) as caught:
        network(pretrained=True)
    assert caught.value.stable_code == "no_pretrained_weights"


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_calibration_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match="positive"):
        network().set_calibration(scale)


def test_every_backbone_of_the_contract_has_a_size():
    assert tuple(SIZES) == BACKBONES


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_backbone_has_the_published_number_of_parameters(name):
    with torch.device("meta"):
        backbone = create_backbone(name, 3)
    millions = sum(p.numel() for p in backbone.parameters()) / 1e6
    assert millions == pytest.approx(PUBLISHED[name], rel=0.03)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_pools_seven_receivers(name):
    with torch.device("meta"):
        pooled = create_backbone(name, 7)(torch.empty(2, 7, 128, 32)).pooler_output
    assert pooled.shape == (2, SIZES[name].hidden_sizes[-1])


def test_micro_has_about_350_thousand_parameters():
    assert sum(p.numel() for p in network(num_receivers=7).parameters()) == pytest.approx(3.45e5, rel=0.03)


@pytest.mark.parametrize("num_receivers", [1, 7, 25])
@pytest.mark.parametrize("name", ["micro", "atto"])
@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_outputs_have_the_shapes_of_the_contract(num_receivers, name, covariance):
    net = network(num_receivers=num_receivers, backbone=name, covariance=covariance).eval()
    with torch.inference_mode():
        outputs = net(inputs(2, num_receivers))
    assert [tuple(o.shape) for o in outputs] == [(2, 2), (2, 2), (2, 1)][: 3 if covariance == "full" else 2]
    assert all(o.dtype == torch.float32 for o in outputs)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_every_parameter_of_micro_gets_a_gradient(covariance):
    net = network(covariance=covariance).train()
    torch.manual_seed(1)
    prediction = net.plane(inputs(16))
    GaussianNLLLoss()(
        prediction.mean_km, prediction.sigma_km, torch.full((16, 2), 20.0), prediction.correlation
    ).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []


def test_extreme_inputs_give_finite_positive_uncertainties():
    net = network(covariance="full").eval()
    for scale in (0.0, 1.0, 1e3, -1e3):
        positions, sigma, correlation = net(inputs() * scale)
        assert torch.isfinite(positions).all()
        assert bool((sigma > 0).all())
        assert bool((correlation.abs() < 1).all())


def test_degrees_and_metres_belong_to_the_plane_prediction():
    net = network().eval()
    plane = net.plane(inputs())
    positions, sigma_m = net(inputs())
    latitude, _ = to_degrees(*plane.mean_km.detach().double().T.numpy(), origin=ORIGIN)
    torch.testing.assert_close(positions[:, 0].double(), torch.from_numpy(latitude), atol=1e-5, rtol=0)
    torch.testing.assert_close(sigma_m, plane.sigma_km * 1e3)


def test_calibration_multiplies_every_sigma_and_is_saved():
    net = network().eval()
    before = net(inputs())
    net.set_calibration(1.7)
    restored = network().eval()
    restored.load_state_dict(net.state_dict())
    after = restored(inputs())
    torch.testing.assert_close(after[1], before[1] * 1.7)
    torch.testing.assert_close(after[0], before[0])


def test_the_plane_scale_scales_mean_and_sigma_and_the_receivers_places():
    nearer = inputs()
    nearer[:, :, rows.POSITION_ROWS.start : rows.POSITION_ROWS.stop - 1] /= 50.0
    near, far = network(plane_scale_km=1.0).eval(), network(plane_scale_km=50.0).eval()
    torch.testing.assert_close(
        near.levels(nearer), far.levels(inputs()), msg="positions count in plane scales"
    )
    features = inputs() * torch.zeros(())
    torch.testing.assert_close(near.plane(features).mean_km * 50.0, far.plane(features).mean_km)
    torch.testing.assert_close(near.plane(features).sigma_km * 50.0, far.plane(features).sigma_km)


def test_the_level_of_one_receiver_reaches_the_heads():
    net = network().eval()
    louder = inputs()
    louder[:, 2, rows.SNR_ROW] += 0.5
    with torch.inference_mode():
        moved_km = net.plane(louder).mean_km - net.plane(inputs()).mean_km
    assert float(moved_km.abs().min()) > 1e-3


def test_a_frozen_backbone_keeps_its_weights_and_mode():
    net = network(freeze_backbone=True).train()
    assert not net.backbone.training
    assert net.levels.training
    assert not any(p.requires_grad for p in net.backbone.parameters())


def test_reduced_precision_still_answers_in_single_precision():
    net = network(covariance="full").eval()
    exact = net(inputs())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = net(inputs())
    assert all(o.dtype == torch.float32 for o in reduced)
    torch.testing.assert_close(reduced[0], exact[0], atol=0.02, rtol=0)


def test_the_same_seed_gives_the_same_network():
    assert all(torch.equal(a, b) for a, b in zip(network().parameters(), network().parameters(), strict=True))


def test_a_network_learns_where_eight_sessions_were():
    torch.manual_seed(0)
    net, x = network(covariance="full").train(), inputs(8)
    target = torch.randn(8, 2) * 40.0
    optimizer, loss = torch.optim.AdamW(net.parameters(), lr=2e-3), GaussianNLLLoss(unit_km=50.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, total_iters=120)
    for _ in range(120):
        prediction = net.plane(x)
        value = loss(prediction.mean_km, prediction.sigma_km, target, prediction.correlation)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        error_km = (net.eval().plane(x).mean_km - target).norm(dim=1)
    assert float(error_km.mean()) < 5.0
