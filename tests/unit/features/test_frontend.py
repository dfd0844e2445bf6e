import copy
import dataclasses

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.features import SpectrogramFrontEnd, rows

SETTINGS = FeatureSettings()
FRONT_END = SpectrogramFrontEnd(SETTINGS)
CHANNEL_SHARE_DB = 10 * np.log10(205 / 256)
"""Of white noise's power that lies in the channel's bins."""
STATED = torch.tensor([-50.0])
UNSTATED = torch.tensor([float("nan")])


def noise(level_dbfs: float, seed: int = 0, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(batch, SETTINGS.segment_samples, dtype=torch.complex64, generator=generator)
    return samples * 10 ** (level_dbfs / 20)


def tone(frequency_hz: float, level_dbfs: float = -10.0) -> torch.Tensor:
    phase = 2j * torch.pi * frequency_hz / SETTINGS.sample_rate_hz * torch.arange(SETTINGS.segment_samples)
    return (torch.exp(phase) * 10 ** (level_dbfs / 20)).to(torch.complex64)[None]


def snr_db(x: torch.Tensor) -> float:
    return float(x[0, rows.SNR_ROW, 0]) * rows.DB_SCALE


def test_settings_without_guard_bands_are_refused():
    with pytest.raises(ValueError, match="too few bins outside the channel"):
        SpectrogramFrontEnd(dataclasses.replace(SETTINGS, channel_bandwidth_hz=12_000.0))


def test_another_number_of_bands_is_refused():
    with pytest.raises(ValueError, match="num_bands must be 120"):
        SpectrogramFrontEnd(dataclasses.replace(SETTINGS, num_bands=64))


def test_silence_is_finite():
    samples = torch.zeros(2, SETTINGS.segment_samples, dtype=torch.complex64)
    assert torch.isfinite(FRONT_END(samples, torch.tensor([-50.0, float("nan")]))).all()


def test_the_shape_is_that_of_the_contract():
    x = FRONT_END(noise(-40.0, batch=3), torch.full((3,), -40.0))
    assert x.shape == (3, 128, 32)
    assert x.dtype == torch.float32
    assert torch.all(x[:, rows.PRESENCE_ROW] == 1.0)
    assert torch.all(x[:, rows.POSITION_ROWS] == 0.0)


def test_noise_alone_lies_at_zero_db():
    x = FRONT_END(noise(-45.0, batch=32), torch.full((32,), -45.0 + CHANNEL_SHARE_DB))
    band_power = 10 ** (x[:, :120] * rows.DB_SCALE / 10)
    assert float(band_power.mean()) == pytest.approx(1.0, abs=0.03)


def test_bands_are_clipped_and_levels_are_not():
    x = FRONT_END(tone(0.0, 0.0), torch.tensor([-150.0]))
    assert float(x[:, :120].max()) == 4.0
    assert snr_db(x) == pytest.approx(150.0, abs=0.01)
    x = FRONT_END(noise(-90.0), torch.tensor([-20.0]))
    assert torch.all(x[:, :120] == -1.0)
    assert snr_db(x) == pytest.approx(-70.0 + CHANNEL_SHARE_DB, abs=0.2)


def test_the_scaling_is_that_of_the_contract():
    x = FRONT_END(tone(1000.0, -10.0), STATED)[0]
    inside = {row: float(x[row, 0]) for row in range(rows.FIRST_SIDE_ROW, rows.NUM_ROWS)}
    assert inside[120] == pytest.approx(40.0 / 20.0, abs=1e-4)
    assert inside[121] == pytest.approx(-10.0 / 50.0, abs=1e-4)
    assert inside[122] == pytest.approx(-50.0 / 50.0, abs=1e-6)
    assert inside[123] == 1.0
    assert inside[124] == pytest.approx(1.0 / 5.0, abs=1e-3)
    assert torch.equal(x[rows.FIRST_SIDE_ROW :], x[rows.FIRST_SIDE_ROW :, :1].expand(-1, 32))


@pytest.mark.parametrize("scale", ["mel", "linear"])
def test_single_precision_gives_what_double_precision_gives(scale):
    front_end = SpectrogramFrontEnd(dataclasses.replace(SETTINGS, scale=scale))
    exact = copy.deepcopy(front_end).double()
    iq = (noise(-50.0, batch=6) + tone(700.0, -30.0)).to(torch.complex128)
    floors = torch.tensor([-50.0, float("nan")] * 3, dtype=torch.float64)
    expected = exact(iq, floors)
    assert expected.dtype == torch.float64
    actual = front_end(iq.to(torch.complex64), floors.float())
    torch.testing.assert_close(actual.double(), expected, atol=2e-4, rtol=0.0)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(6)), size=st.integers(1, 6))
def test_a_segment_gives_the_same_in_any_batch(order, size):
    iq = noise(-30.0, batch=6)
    floors = torch.tensor([-40.0, float("nan"), -35.0, float("nan"), -60.0, -20.0])
    alone = torch.cat([FRONT_END(iq[i : i + 1], floors[i : i + 1]) for i in range(6)])
    chosen = torch.tensor(order[:size])
    torch.testing.assert_close(FRONT_END(iq[chosen], floors[chosen]), alone[chosen], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("floor", [STATED, UNSTATED], ids=["stated", "estimated"])
def test_gradients_reach_the_samples(floor):
    iq = (tone(300.0, -20.0) + noise(-40.0)).requires_grad_()
    FRONT_END(iq, floor).sum().backward()
    assert iq.grad is not None
    assert torch.isfinite(torch.view_as_real(iq.grad)).all()
    assert float(iq.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("floor", "slopes"), [(STATED, (1.0, 1.0, 0.0)), (UNSTATED, (0.0, 1.0, 1.0))], ids=["stated", "estimated"]
)
def test_the_slopes_of_the_levels_are_those_of_decibels(floor, slopes):
    gain_db = torch.tensor(0.0, requires_grad=True)
    x = FRONT_END((tone(300.0, -20.0) + noise(-40.0)) * 10 ** (gain_db / 20), floor)[0, :, 0]
    levels = (x[120] * rows.DB_SCALE, x[121] * rows.DBFS_SCALE, x[122] * rows.DBFS_SCALE)
    found = [
        torch.autograd.grad(v, gain_db, retain_graph=True)[0] if v.requires_grad else torch.tensor(0.0)
        for v in levels
    ]
    torch.testing.assert_close(torch.stack(found), torch.tensor(slopes), atol=1e-3, rtol=0.0)


def test_gradients_of_silence_are_finite():
    iq = torch.zeros(1, SETTINGS.segment_samples, dtype=torch.complex64, requires_grad=True)
    FRONT_END(iq, UNSTATED).sum().backward()
    assert torch.isfinite(torch.view_as_real(iq.grad)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:# The axis name:UserWarning")
def test_onnx_runtime_gives_the_same_rows_for_stated_and_unstated_floors(tmp_path):
    class FromParts(torch.nn.Module):
        """ONNX has no complex inputs."""

        def __init__(self):
            super().__init__()
            self.front_end = SpectrogramFrontEnd(SETTINGS)

        def forward(self, parts, floors):
            return self.front_end(torch.view_as_complex(parts), floors)

    iq = noise(-50.0, batch=3) + tone(700.0, -30.0)
    floors = torch.tensor([-50.0, float("nan"), float("nan")])
    path, batch = tmp_path / "front_end.onnx", torch.export.Dim("batch")
    torch.onnx.export(
        FromParts().eval(),
        (torch.view_as_real(iq), floors),
        path,
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: batch}, {0: batch}),
        verbose=False,
    )
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    for chosen in ([0, 1, 2], [1], [2, 0, 1, 1, 2]):
        given_iq, given_floors = iq[chosen], floors[chosen]
        values = (torch.view_as_real(given_iq).numpy(), given_floors.numpy())
        (actual,) = session.run(None, dict(zip(names, values, strict=True)))
        np.testing.assert_allclose(actual, FRONT_END(given_iq, given_floors).numpy(), atol=2e-4)
