"""The way of the levels past the backbone: a set of receivers, each of them where it stands."""

import math

import torch
from torch import Tensor, nn

from heimdall_core.features import rows

_WIDTH = 128
_BLOCKS = 2
_TOKEN_WIDTH = 64
_TOKEN_BLOCKS = 1
_LEVEL_GAIN = 2.0
"""What tells sessions apart is in the levels; more of it learns faster, and a small set by heart."""
_NUM_WAVES = 6
_LONGEST_WAVE = 4.0
"""In plane scales; the next ones are shorter by halves, so that sites 2 % of the scale apart still differ."""
_SITE_TOLERANCE = 1e-3
"""Of the position and of the plane scale: half precision leaves a site recognisable."""
_SUM_SCALE = 0.25
_BELOW_ALL = -1e4
NOWHERE = 1e4
"""In place of a site's coordinates: nobody is awaited there."""
_NEIGHBOURHOOD = 0.1
"""In plane scales: so near a known site another receiver hears what one there would, more or less."""
_FORGOTTEN_SITES = 0.05
_ANONYMOUS_RECEIVERS = 0.1

_POSITION = slice(rows.POSITION_ROWS.start - rows.FIRST_SIDE_ROW, rows.NUM_SIDE_ROWS)
_PRESENCE = rows.PRESENCE_ROW - rows.FIRST_SIDE_ROW


class ResidualBlock(nn.Module):
    """Pre-norm two-layer perceptron added to its input: (..., width) -> (..., width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Adds what the layers make of ``x``."""
        return x + self.layers(x)


class ReceiverTokens(nn.Module):
    """Side rows of single receivers to tokens: (..., 8) and (...,) -> (..., width).

    East and north also enter as sines and cosines of several wavelengths, for receivers whose site is known:
    they tell sites apart exactly. Of another receiver nothing but its coarse position is read.

    Args:
        scale_km: the length that positions are counted in.
    """

    shift: Tensor
    frequencies: Tensor

    def __init__(self, scale_km: float, width: int = _TOKEN_WIDTH) -> None:
        super().__init__()
        self.to_scales = rows.POSITION_SCALE_KM / scale_km
        frequencies = 2.0 * math.pi / _LONGEST_WAVE * 2.0 ** torch.arange(_NUM_WAVES)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("shift", torch.zeros(2))
        self.layers = nn.Sequential(
            nn.Linear(rows.NUM_SIDE_ROWS + 1 + 4 * _NUM_WAVES, width),
            *(ResidualBlock(width) for _ in range(_TOKEN_BLOCKS)),
            nn.LayerNorm(width),
        )

    def forward(self, side: Tensor, is_known: Tensor) -> Tensor:
        """Rows 120-127 and whether the receiver's site is known."""
        known = is_known[..., None].to(side.dtype)
        places = (side[..., _POSITION][..., :2] + self.shift) * self.to_scales
        phases = (places[..., None] * self.frequencies).flatten(-2)
        waves = torch.cat([phases.sin(), phases.cos()], dim=-1) * known
        levels, altitude = side[..., : _POSITION.start] * _LEVEL_GAIN, side[..., -1:]
        return self.layers(torch.cat([levels, places, altitude, known, waves], dim=-1))


class LevelEncoder(nn.Module):
    """Side rows of a set of receivers, averaged over time, to an embedding: (B, R, 128, 32) -> (B, width).

    A receiver is what its rows say, its position above all: no weight depends on the number of receivers or
    on their order. The embedding is made of the sum and the maximum of the tokens of all that heard.

    The rows of an absent receiver are zeros; ``sites`` tells who it is that kept silent. A site at which
    nobody heard adds a token of silence to the sum; without sites, silence is what the network has learnt to
    miss. In training a site is now and then forgotten, with whoever stands there, and a receiver now and
    then not recognised: the network can do without a site that is gone, and with a receiver beside a site.
    One that stands far from every site is not listened to until the network was trained with it: what a
    network makes of such a place can be far off (docs/benchmarks.md).

    Args:
        num_sites: K, of the receivers awaited.
        scale_km: the length that positions are counted in.
    """

    sites: Tensor

    def __init__(self, num_sites: int, *, scale_km: float, width: int = _WIDTH) -> None:
        super().__init__()
        self.width = width
        self.tolerance = _SITE_TOLERANCE * scale_km / rows.POSITION_SCALE_KM
        self.neighbourhood = _NEIGHBOURHOOD * scale_km / rows.POSITION_SCALE_KM
        self.register_buffer("sites", torch.full((num_sites, 3), NOWHERE))
        self.tokens = ReceiverTokens(scale_km)
        self.nobody = nn.Parameter(torch.zeros(_TOKEN_WIDTH))
        self.layers = nn.Sequential(
            nn.Linear(2 * _TOKEN_WIDTH, width),
            *(ResidualBlock(width) for _ in range(_BLOCKS)),
            nn.LayerNorm(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Reads nothing but the side rows."""
        return self.encode(x[:, :, rows.FIRST_SIDE_ROW :].mean(-1))

    def encode(self, side_BR8: Tensor) -> Tensor:
        """(B, R, 8) -> (B, width)."""
        heard_BR = side_BR8[..., _PRESENCE] > 0.5
        if not self.training:
            heard_BR = heard_BR & (self._stands_near(side_BR8) | ~self._is_listed().any())
        at_BRK = self._stands_at(side_BR8) & heard_BR[..., None]
        silent_BK = self._is_listed() & ~at_BRK.any(1)
        known_BR = at_BRK.any(2)
        if self.training:
            forgotten_BK = _random(silent_BK) < _FORGOTTEN_SITES
            heard_BR = heard_BR & ~(at_BRK & forgotten_BK[:, None]).any(2)
            silent_BK = silent_BK & ~forgotten_BK
            known_BR = known_BR & (_random(known_BR) >= _ANONYMOUS_RECEIVERS)
        known_BR = known_BR | ~self._is_listed().any()
        return self._pool(self.tokens(side_BR8, known_BR), heard_BR, silent_BK)

    def translate(self, shift_km: tuple[float, float]) -> None:
        """Goes on in a plane whose coordinates are larger by ``shift_km``."""
        self.tokens.shift.sub_(self.tokens.shift.new_tensor(shift_km) / rows.POSITION_SCALE_KM)

    def _is_listed(self) -> Tensor:
        """(K,)."""
        return self.sites.amax(1) < NOWHERE

    def _stands_at(self, side_BR8: Tensor) -> Tensor:
        """(B, R, K)."""
        distance = (side_BR8[:, :, None, _POSITION] - self.sites).abs()
        is_near = (distance <= _SITE_TOLERANCE * self.sites.abs() + self.tolerance).all(-1)
        return is_near & self._is_listed()

    def _stands_near(self, side_BR8: Tensor) -> Tensor:
        """(B, R): whether within the neighbourhood of a site."""
        offset = (side_BR8[:, :, None, _POSITION] - self.sites)[..., :2]
        is_near = offset.square().sum(-1) <= self.neighbourhood**2
        return (is_near & self._is_listed()).any(2)

    def _pool(self, tokens_BRW: Tensor, heard_BR: Tensor, silent_BK: Tensor) -> Tensor:
        heard = heard_BR[..., None]
        total = (tokens_BRW * heard).sum(1) + silent_BK.to(tokens_BRW.dtype) @ self._silence()
        highest = torch.where(heard, tokens_BRW, _BELOW_ALL).amax(1).maximum(self.nobody)
        return self.layers(torch.cat([total * _SUM_SCALE, highest], dim=1))

    def _silence(self) -> Tensor:
        """(K, token width): a token of each site with neither level nor presence."""
        is_listed = self._is_listed()
        sites = torch.where(is_listed[:, None], self.sites, 0.0)
        nothing = torch.zeros_like(sites[:, :1]).expand(-1, _POSITION.start)
        return self.tokens(torch.cat([nothing, sites], dim=1), is_listed)


def _random(like: Tensor) -> Tensor:
    return torch.rand(like.shape, device=like.device)
