"""Reads recordings back into sessions; what is malformed is refused by name and the rest goes on."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from heimdall_core.domain.manifest import FeatureSettings
from heimdall_core.recordings.files import ARCHIVE, COLLECTION, Bytes, FileSet, InputFile, files_of_archive
from heimdall_core.recordings.plan import RecordingPlan, SessionPlan
from heimdall_core.recordings.planning import plan_sessions
from heimdall_core.recordings.recording_reading import read_recording
from heimdall_core.recordings.refusal import Refusal, RefusedFile, refused_as
from heimdall_core.recordings.session import IqRecording, RecordedSession, Source

__all__ = ["InputFile", "RefusedFile", "read_sessions"]

Outcome = RecordedSession | RefusedFile


class Reading(NamedTuple):
    """A session or a refusal, and what a sheet says of how to split it from others."""

    outcome: Outcome
    split_group: str | None = None


def read_sessions(
    files: Sequence[InputFile],
    *,
    settings: FeatureSettings | None = None,
    unknown: Source | None = None,
) -> Iterator[Outcome]:
    """The sessions of SigMF archives and of loose files, and every file that had to be refused.

    A session keeps its good recordings when another of its recordings is refused. ``settings`` say
    how long a recording must last and how wide its channel is; ``unknown`` is the source of recordings that
    state none, which are refused without it. Archives come first, in the given order.
    """
    settings = settings or FeatureSettings()
    loose: dict[str, InputFile] = {}
    for file in files:
        if file.suffix == ARCHIVE:
            yield from (reading.outcome for reading in read_archive(file, settings, unknown=unknown))
        else:
            loose[file.name] = file
    readings = _read_files({name: file.read for name, file in loose.items()}, settings, unknown)
    yield from (reading.outcome for reading in readings)


def read_archive(
    file: InputFile, settings: FeatureSettings, *, unknown: Source | None = None
) -> Iterator[Reading]:
    """The sessions of one archive; what is refused in it is named after it."""
    try:
        members = files_of_archive(file.read())
    except Refusal as refusal:
        yield Reading(refusal.of(file.name))
        return
    for reading in _read_files(members, settings, unknown):
        refused = reading.outcome
        if isinstance(refused, RefusedFile):
            yield Reading(
                Refusal(refused.code, refused.message, hint=refused.hint).of(f"{file.name}/{refused.name}")
            )
        else:
            yield reading


def read_planned(
    plan: SessionPlan, fetch: Callable[[str], Bytes], settings: FeatureSettings
) -> Iterator[Outcome]:
    """Fetches each of ``plan.data_files`` once and in that order; the session comes last."""
    recordings: dict[str, IqRecording] = {}
    num_held = 0
    for planned in plan.recordings:
        if isinstance(planned, RefusedFile):
            yield planned
            continue
        try:
            recording = _read(planned, fetch, settings, num_held=num_held)
            _check(recording, plan.source, recordings, settings)
        except Refusal as refusal:
            yield refusal.of(planned.name)
        else:
            recordings[recording.receiver.name] = recording
            num_held += recording.samples.nbytes
    if recordings:
        yield _session(plan, tuple(recordings.values()))
    elif plan.file.endswith(COLLECTION):
        yield Refusal("empty", "none of its recordings can be used", hint="Each says why.").of(plan.file)


def _read_files(files: FileSet, settings: FeatureSettings, unknown: Source | None) -> Iterator[Reading]:
    for plan in plan_sessions(files, unknown=unknown):
        if isinstance(plan, RefusedFile):
            yield Reading(plan)
            continue
        for outcome in read_planned(plan, lambda name: files[name](), settings):
            yield Reading(outcome, plan.split_group)


def _read(
    planned: RecordingPlan, fetch: Callable[[str], Bytes], settings: FeatureSettings, *, num_held: int
) -> IqRecording:
    with refused_as(planned.data):
        data = fetch(planned.data)
        return read_recording(planned.header, planned.data, data, settings=settings, num_held=num_held)


def _check(
    recording: IqRecording, source: Source, known: dict[str, IqRecording], settings: FeatureSettings
) -> None:
    """Refuses a recording that does not fit into its session."""
    if recording.receiver.name in known:
        raise Refusal(
            "duplicate_receiver",
            f"receiver {recording.receiver.name!r} has another recording in this session",
            hint="Keep one recording per receiver.",
        )
    if recording.noise_floor_dbfs is None and recording.sample_rate_hz < settings.sample_rate_hz:
        raise Refusal(
            "no_noise_floor",
            f"states no noise floor, and {recording.sample_rate_hz:g} Hz are too few to measure it",
            hint=f"State the floor, or record at {settings.sample_rate_hz:g} Hz or more.",
        )
    off_hz = abs(recording.center_frequency_hz - source.frequency_hz)
    if source.frequency_hz and off_hz > settings.channel_bandwidth_hz / 2:
        raise Refusal(
            "off_channel",
            f"is centred {off_hz:.0f} Hz from the frequency of source {source.name!r}",
            hint="The channel is taken from the middle: shift the recording so that the source is there.",
        )


def _session(plan: SessionPlan, recordings: tuple[IqRecording, ...]) -> RecordedSession:
    return RecordedSession(
        name=plan.name,
        source=plan.source,
        started_at=plan.started_at or min(r.started_at for r in recordings),
        recordings=recordings,
    )
