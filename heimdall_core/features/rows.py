"""Which row of the ``(receivers, 128, 32)`` input holds what, and its fixed scaling."""

NUM_ROWS = 128

#: Rows 0-119: band powers in dB over the receiver's noise floor, / 20, clipped to [-1, 4].
SNR_ROW = 120
#: In-channel power and noise floor, dBFS / 50.
POWER_ROW = 121
FLOOR_ROW = 122
PRESENCE_ROW = 123
#: Carrier offset, kHz / 5.
OFFSET_ROW = 124
#: Receiver east, north of the origin, 100 km; altitude, km.
POSITION_ROWS = slice(125, 128)

FIRST_SIDE_ROW = SNR_ROW
NUM_SIDE_ROWS = NUM_ROWS - FIRST_SIDE_ROW

DB_SCALE = 20.0
DBFS_SCALE = 50.0
OFFSET_SCALE_KHZ = 5.0
POSITION_SCALE_KM = 100.0
BAND_RANGE = (-1.0, 4.0)
