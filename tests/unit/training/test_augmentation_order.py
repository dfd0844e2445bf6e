"""In training the receivers trade channels; nothing else of an item changes by it."""

import numpy as np

from heimdall_core.features import rows
from heimdall_core.training.augmentation import Augmentation, augment, draw

ORDER_ALONE = Augmentation(receiver_dropout=0.0, gain_db=0.0, level_db=0.0, cell_db=0.0)
KEYS = [(0, i) for i in range(64)]


def planes(num_receivers: int = 4) -> np.ndarray:
    inputs = np.random.default_rng(0).normal(1.0, 0.3, (len(KEYS), num_receivers, rows.NUM_ROWS, 32))
    inputs[:, :, : rows.FIRST_SIDE_ROW] = inputs[:, :, : rows.FIRST_SIDE_ROW].clip(*rows.BAND_RANGE)
    inputs[:, :, rows.PRESENCE_ROW] = 1.0
    inputs[::2, 1] = 0.0
    return inputs.astype(np.float32)


def test_every_receiver_keeps_its_plane_whole() -> None:
    before, after = planes(), planes()
    augment(after, draw(0, KEYS, 4), ORDER_ALONE)
    for a, b in zip(before, after, strict=True):
        assert sorted(p.tobytes() for p in a) == sorted(p.tobytes() for p in b)


def test_every_receiver_comes_into_every_channel() -> None:
    order = draw(0, KEYS, 4).order
    assert all(set(channel) == {0, 1, 2, 3} for channel in order.T)
    assert all(sorted(item) == [0, 1, 2, 3] for item in order)


def test_the_order_is_of_the_item_alone() -> None:
    together, alone = draw(5, KEYS, 4), draw(5, KEYS[7:8], 4)
    np.testing.assert_array_equal(together.order[7:8], alone.order)


def test_another_epoch_gives_another_order() -> None:
    orders = {draw(5, [(epoch, 0)], 7).order.tobytes() for epoch in range(8)}
    assert len(orders) == 8
