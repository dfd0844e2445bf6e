"""Events as they happen: over a stream that resumes where it broke, by polling where there is none."""

import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from heimdall_client.calls import Parameters, history_page
from heimdall_client.documents.document import parse
from heimdall_client.documents.jobs import Event, Job
from heimdall_client.errors import NotOffered, RateLimited, Unavailable, UnreadableAnswer
from heimdall_client.exchanges import Request, parameters_of, path_of, require_success
from heimdall_client.server_events import MEDIA_TYPE, Frame, FrameReader
from heimdall_client.steps import BackOff, Close, Emit, Feed, Flow, Sleep, Stream, open_stream, read_piece
from heimdall_client.waiting import Patience, PolledJob, id_of

SILENCE_SECONDS: Final = 45.0
"""Three times the interval of the service's keep-alive comments: then a stream counts as broken."""
FUTILE_STREAMS: Final = 3
"""Streams in a row that gave nothing, after which events are polled for."""
UNCHANGED_LOOKS: Final = 5
"""A history may grow without its job: it is read after so many looks at an unchanged job, too."""
ENDINGS: Final = frozenset({"job.succeeded", "job.failed", "job.cancelled"})
_KNOWN_IDS: Final = 10_000
_POLL_ALL_SECONDS: Final = 2.0


class _NoStream(Exception):
    """The service, or a proxy before it, gives no stream."""


@dataclass(frozen=True, slots=True)
class _History:
    """Which events are followed."""

    path: str
    parameters: Parameters = field(default_factory=dict)


def event_filter(
    names: Iterable[str], kinds: Iterable[str], job: Job | str | None, model: str | None
) -> Parameters:
    """Which of all events are wanted, as the service reads it."""
    return {
        "name": list(names),
        "kind": list(kinds),
        "job": None if job is None else id_of(job),
        "model": model,
    }


class _Place:
    """How far a history has been told."""

    def __init__(self, after: str | None, *, endings: frozenset[str] = frozenset()) -> None:
        self.last_id = after
        self._endings = endings
        self.has_ended = False
        self.num_futile = 0
        self.pause_seconds: float | None = None
        self._told: OrderedDict[str, None] = OrderedDict()

    def admit(self, event: Event) -> bool:
        """Whether the event is new; a proxy may swallow ``Last-Event-ID``."""
        if event.id in self._told:
            return False
        self._told[event.id] = None
        if len(self._told) > _KNOWN_IDS:
            self._told.popitem(last=False)
        self.last_id = event.id
        self.has_ended = self.has_ended or event.event in self._endings
        return True

    def note(self, error: Unavailable | RateLimited) -> None:
        """Counts a stream that broke or could not be had."""
        self.num_futile += 1
        self.pause_seconds = error.retry_after

    def pause(self) -> Sleep | BackOff:
        """The pause before the next stream: as the service asks, else as the policy says."""
        return Sleep(self.pause_seconds) if self.pause_seconds else BackOff(max(1, self.num_futile))


def watch_job(job: Job | str, *, after: str | None = None) -> Feed[Event]:
    """A job's events, those that were and those that come, until it has ended.

    Args:
        job: The job or its id.
        after: The id of an event that is known; later ones are told.

    Raises:
        NotFound: no such job, or not yours to see.
        Unavailable: the service was away for longer than five minutes.
    """
    source = _History(path_of("jobs", id_of(job), "events"))
    place = _Place(after, endings=ENDINGS)
    polled = PolledJob(id_of(job))
    patience = Patience()
    while not place.has_ended:
        try:
            yield from _streamed(source, place)
        except _NoStream:
            yield from _polled(source, place, polled)
            return
        except (Unavailable, RateLimited) as error:
            # A stream that breaks says nothing of the job: asking for the job does.
            place.note(error)
        if place.has_ended:
            return
        yield from patience.bear(polled.look())
        if polled.is_terminal:
            yield from _rest(source, place)
            return
        yield place.pause()


def watch_all(
    *,
    after: str | None = None,
    names: Iterable[str] = (),
    kinds: Iterable[str] = (),
    job: Job | str | None = None,
    model: str | None = None,
) -> Feed[Event]:
    """The events of everything that the caller may see, as they happen, without end.

    Args:
        after: The id of an event that is known; later ones are told. Default: what happens from now on.
        names: Only these, such as ``job.succeeded`` or ``model.*``.
        kinds: Only of jobs of these kinds.
        job: Only of this job.
        model: Only about this model.

    Raises:
        NotOffered: the service is older than this client.
    """
    source, place = _History(path_of("events"), event_filter(names, kinds, job, model)), _Place(after)
    while True:
        try:
            yield from _streamed(source, place)
        except _NoStream:
            break
        except (Unavailable, RateLimited) as error:
            place.note(error)
        yield place.pause()
    if place.last_id is None:
        yield from _skip(source, place)
    while True:
        yield from _rest(source, place)
        yield Sleep(_POLL_ALL_SECONDS)


def _skip(source: _History, place: _Place) -> Flow[None]:
    """Passes over what has happened already: a stream, too, begins with what happens next."""
    after: str | int | None = None
    has_more = True
    while has_more:
        _, after, has_more = yield from history_page(source.path, Event, source.parameters, after=after)
    place.last_id = None if after is None else str(after)


def _streamed(source: _History, place: _Place) -> Feed[Event]:
    """The events of one stream, until it ends or breaks."""
    if place.num_futile >= FUTILE_STREAMS:
        raise _NoStream
    headers = {"Accept": MEDIA_TYPE, "Cache-Control": "no-cache"}
    if place.last_id is not None:
        headers["Last-Event-ID"] = place.last_id
    request = Request(
        method="GET", path=source.path, parameters=parameters_of(source.parameters), headers=headers
    )
    stream = Stream(request, SILENCE_SECONDS)
    try:
        if (yield from _is_stream(stream)):
            yield from _read_events(stream, place)
        else:
            place.has_ended = True
    except Exception:
        yield Close(stream)
        raise
    yield Close(stream)


def _read_events(stream: Stream, place: _Place) -> Feed[Event]:
    reader, before = FrameReader(), place.last_id
    num_futile = place.num_futile
    while not place.has_ended and (piece := (yield from read_piece(stream))) is not None:
        place.num_futile = 0
        for event in filter(place.admit, map(_event_of, reader.feed(piece))):
            yield Emit(event)
        place.pause_seconds = reader.retry_seconds
    if place.last_id == before:
        place.num_futile = num_futile + 1


def _is_stream(stream: Stream) -> Flow[bool]:
    """Whether there is more to come; a 204 says that everything has been told."""
    answer = yield from open_stream(stream)
    try:
        require_success(answer)
    except NotOffered:
        raise _NoStream from None
    if answer.status == HTTPStatus.NO_CONTENT:
        return False
    if not answer.headers.get("content-type", "").startswith(MEDIA_TYPE):
        raise _NoStream
    return True


def _event_of(frame: Frame) -> Event:
    try:
        value = json.loads(frame.data)
    except ValueError as error:
        raise UnreadableAnswer("an event of the stream is no JSON", code="unreadable_answer") from error
    if isinstance(value, dict):
        value = {"event": frame.event, **value, **({"id": frame.id} if frame.id else {})}
    return parse(Event, value)


def _polled(source: _History, place: _Place, polled: PolledJob) -> Feed[Event]:
    """The events of a job, asked for whenever it has changed, until it has ended."""
    patience, num_unchanged = Patience(), 0
    while not place.has_ended:
        has_changed = yield from patience.bear(polled.look())
        num_unchanged = 0 if has_changed else num_unchanged + 1
        if patience.error is None and (has_changed or polled.is_terminal or num_unchanged >= UNCHANGED_LOOKS):
            num_unchanged = 0
            yield from _rest(source, place)
        if polled.is_terminal:
            return
        yield Sleep(polled.pause_seconds)


def _rest(source: _History, place: _Place) -> Feed[Event]:
    """What the history has beyond the place."""
    after: str | int | None = place.last_id
    has_more = True
    while has_more:
        found, after, has_more = yield from history_page(source.path, Event, source.parameters, after=after)
        for event in filter(place.admit, found):
            yield Emit(event)
