"""Where the receivers of a training stand, as its features have it."""

import numpy as np
import torch
from torch import Tensor

from heimdall_core.features import FeatureSet, rows
from heimdall_core.networks.levels import NOWHERE


def receiver_sites(features: FeatureSet) -> Tensor:
    """East, north (100 km) and altitude (km) of each receiver, (R, 3); NOWHERE if not in the training split.

    Whoever never heard in training is not awaited later: their silence could say nothing.
    """
    train = features.indices("train")
    sites = torch.full((features.num_receivers, 3), NOWHERE)
    for receiver, is_present in enumerate(np.isfinite(features.snr_db[train]).T):
        if is_present.any():
            segment = features.first_segment[train[is_present.argmax()]]
            planes = features.inputs[[segment]]
            sites[receiver] = torch.from_numpy(planes[0, receiver, rows.POSITION_ROWS, 0])
    return sites
