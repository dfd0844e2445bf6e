"""``heimdall recordings show``: a session as a picture."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import httpx
import typer

from heimdall_core.cli.client import Json, connect, is_local, path_of
from heimdall_core.cli.completion import session_ids
from heimdall_core.cli.errors import ServerUnreachable
from heimdall_core.cli.output import say, show_json, show_rows
from heimdall_core.cli.predict_commands import fetch_archive, local_archive, read_archive
from heimdall_core.domain.errors import DataError, InvalidRequest
from heimdall_core.embedded.home import default_home

if TYPE_CHECKING:
    from heimdall_core.domain.manifest import IqFormat
    from heimdall_core.evaluation.spectrogram_plot import HeardPanel
    from heimdall_core.recordings.session import IqRecording, RecordedSession, Source

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_UNSAFE = re.compile(r"[^\w.-]+")


def show(
    recording: Annotated[
        str,
        typer.Argument(
            metavar="SESSION",
            help="Id of a recording session, or a .sigmf archive.",
            autocompletion=session_ids,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="PNG to write.", show_default="NAME.png")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draws what each receiver heard: spectrograms over the noise floor, levels and a map."""
    _require_matplotlib()
    sessions = _read(recording)
    if output and len(sessions) > 1:
        raise InvalidRequest(
            f"{recording} holds {len(sessions)} sessions and --output names one file",
            hint="leave --output out: each session gets a PNG of its own name",
        )
    shown = [_draw(session, output) for session in sessions]
    if as_json:
        show_json(shown)
        return
    for drawn in shown:
        tell(drawn)


def _require_matplotlib() -> None:
    try:
        import matplotlib as _  # noqa: F401, ICN001 - only asked for
    except ImportError as error:
        raise InvalidRequest(
            "pictures need matplotlib", hint="`pip install matplotlib`, or install the worker extra"
        ) from error


def _read(recording: str) -> "list[RecordedSession]":
    """The sessions of a file, or the one that the service knows by this id."""
    if archive := local_archive(recording):
        return read_archive(archive)
    with connect() as client:
        session = client.get(path_of("recording-sessions", recording))
        if session.get("archive"):
            return read_archive(fetch_archive(client, recording, default_home() / "cache"))
    return [fetch_ranges(session)]


def fetch_ranges(session: Json, *, transport: httpx.BaseTransport | None = None) -> "RecordedSession":
    """A session whose recordings are byte ranges of objects of their own.

    Raises:
        InvalidRequest: none of its recordings can be fetched.
        DataError: the bytes are not those that the service knows.
        ServerUnreachable: the object store does not answer.
    """
    from heimdall_core.recordings.session import RecordedSession, parse_utc

    usable = [r for r in session["recordings"] if r.get("download_url") and r.get("num_bytes")]
    if not usable:
        raise InvalidRequest(
            f"session {session['id']} has no recording whose samples are known",
            hint="`heimdall recordings import` reads the samples' format",
        )
    direct = all(is_local(r["download_url"]) for r in usable)
    with httpx.Client(timeout=_TIMEOUT, trust_env=not direct, transport=transport) as storage:
        recordings = [_fetch_recording(storage, r, session) for r in usable]
    return RecordedSession(
        name=session["name"],
        source=_source(session["source"]),
        started_at=parse_utc(session["started_at"]),
        recordings=tuple(recordings),
    )


def _source(stated: Json | None) -> "Source":
    """The source of a session; a platform may leave it, its position or its frequency open."""
    from heimdall_core.recordings.session import UNKNOWN_SOURCE, Source

    if stated is None:
        return UNKNOWN_SOURCE
    latitude, longitude = stated["latitude"], stated["longitude"]
    return Source(
        name=stated["name"],
        frequency_hz=stated["frequency_hz"] or 0.0,
        latitude=UNKNOWN_SOURCE.latitude if latitude is None else latitude,
        longitude=UNKNOWN_SOURCE.longitude if longitude is None else longitude,
        error_margin_m=stated["error_margin_m"],
        power_dbm=stated["power_dbm"],
    )


def _fetch_recording(storage: httpx.Client, recording: Json, session: Json) -> "IqRecording":
    from heimdall_core.recordings.iq import decode
    from heimdall_core.recordings.session import IqRecording, ReceiverSite, parse_utc

    data = _fetch_range(storage, recording)
    # The samples of a .npy file, after its header, are complex64.
    stored: IqFormat = "cf32_le" if recording["format"] == "npy" else recording["format"]
    try:
        samples = decode(data, stored)
    except (ValueError, KeyError) as error:
        raise DataError(f"the samples of {recording['receiver']} cannot be read: {error}") from error
    return IqRecording(
        receiver=ReceiverSite(
            name=recording["receiver"], latitude=recording["latitude"], longitude=recording["longitude"]
        ),
        samples=samples,
        sample_rate_hz=recording["sample_rate_hz"],
        center_frequency_hz=recording["center_frequency_hz"],
        started_at=parse_utc(session["started_at"]),
        noise_floor_dbfs=recording["noise_floor_dbfs"],
        format=stored,
    )


def _fetch_range(storage: httpx.Client, recording: Json) -> bytes:
    """The recording's bytes of its object, checked."""
    offset, num_bytes = recording["offset"] or 0, recording["num_bytes"]
    wanted = {"Range": f"bytes={offset}-{offset + num_bytes - 1}"}
    try:
        answer = storage.get(recording["download_url"], headers=wanted)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        raise DataError(f"the object store answers HTTP {status} for {recording['receiver']}") from error
    except httpx.HTTPError as error:
        raise ServerUnreachable(
            f"cannot download the recording of {recording['receiver']}: {error}",
            hint="`heimdall doctor` checks the object store",
        ) from error
    is_part = answer.status_code == httpx.codes.PARTIAL_CONTENT
    data = answer.content if is_part else answer.content[offset : offset + num_bytes]
    sha256 = recording.get("sha256")
    if len(data) != num_bytes or (sha256 and hashlib.sha256(data).hexdigest() != sha256):
        raise DataError(
            f"the recording of {recording['receiver']} is not what was catalogued", code="object_changed"
        )
    return data


def _draw(session: "RecordedSession", output: Path | None) -> Json:
    """Writes the picture and tells of it; returns the JSON form."""
    from heimdall_core.evaluation.spectrogram_plot import by_strength, describe_recording, draw_session

    panels = by_strength([describe_recording(recording, session) for recording in session.recordings])
    path = output or Path(_UNSAFE.sub("_", session.name) + ".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_session(path, session, panels)
    except OSError as error:
        raise InvalidRequest(f"cannot write {path}: {error.strerror}") from error
    return {"session": session.name, "picture": str(path), "recordings": [row_of(p) for p in panels]}


def row_of(panel: "HeardPanel") -> Json:
    """The facts of one receiver's recording."""
    return {
        "receiver": panel.receiver,
        "distance_km": None if panel.distance_km is None else round(panel.distance_km, 3),
        "snr_db": None if panel.snr_db is None else round(panel.snr_db, 2),
        "level_dbfs": round(panel.level_dbfs, 2) if panel.level_dbfs > float("-inf") else None,
        "noise_floor_dbfs": None if panel.floor_dbfs is None else round(panel.floor_dbfs, 2),
        "duration_ms": round(panel.duration_ms, 3),
        "sample_rate_hz": panel.bandwidth_khz * 1e3,
    }


def tell(drawn: Json) -> None:
    """Prints the path of the picture and a table of the recordings."""
    say(f"[bold]{drawn['picture']}[/]")
    show_rows(
        ("receiver", "distance", "SNR", "level", "noise floor", "length", "sample rate"),
        (
            (
                r["receiver"],
                None if r["distance_km"] is None else f"{r['distance_km']:.1f} km",
                _decibels(r["snr_db"], "dB"),
                _decibels(r["level_dbfs"], "dBFS"),
                _decibels(r["noise_floor_dbfs"], "dBFS"),
                f"{r['duration_ms']:.0f} ms",
                f"{r['sample_rate_hz'] / 1e3:g} kHz",
            )
            for r in drawn["recordings"]
        ),
        empty="no recording",
    )


def _decibels(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.1f} {unit}"
