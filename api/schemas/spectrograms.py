"""A recording session as the network sees it, on the wire."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class ReceiverSpectrogram(BaseModel):
    """What one receiver heard in this segment: its rows of the network's input, in dB and Hz."""

    receiver: str
    latitude: float
    longitude: float
    altitude_m: float
    sample_rate_hz: float = Field(description="Of the recording, before it was resampled.")
    over_floor_db: list[list[float]] = Field(
        description="Rows 0-119: one list for each of `frequency_hz`, one value for each of `time_seconds`, "
        "dB over this receiver's noise floor, clipped to `min_db` and `max_db`."
    )
    snr_db: float = Field(
        description="Row 120: power of signal and noise in the channel over the noise floor, one value for "
        "the whole segment as the rows below."
    )
    power_dbfs: float = Field(description="Row 121: power in the channel.")
    noise_floor_dbfs: float = Field(description="Row 122: noise power in the channel.")
    carrier_offset_hz: float = Field(description="Row 124: where the signal's power lies about the middle.")
    noise_floor_from: Literal["stated", "recording", "segment"] = Field(
        description="Whether the floor was stated with the recording, measured in the whole of it, or "
        "estimated from the guard bands of this segment."
    )


class SpectrogramDocument(BaseModel):
    """One segment of a session as the network sees it.

    Receivers that recorded nothing are not listed: their rows are zeros. Rows 125-127, the receiver's place
    about the middle of the dataset, belong to a dataset version and are left out.
    """

    session_id: UUID
    segment: int = Field(description="From 0.")
    num_segments: int = Field(description="Segments that every recording of the session fills.")
    segment_seconds: float
    features: dict[str, Any] = Field(description="Settings of the front end.")
    frequency_hz: list[float] = Field(description="Middle of each band, about that of the channel; rising.")
    time_seconds: list[float] = Field(description="Middle of each frame, from the begin of the segment.")
    min_db: float
    max_db: float
    receivers: list[ReceiverSpectrogram] = Field(description="Those that recorded it, by name.")


class SpectrogramPending(BaseModel):
    """It is being made: ask again after `Retry-After` seconds."""

    status: Literal["pending"] = "pending"
