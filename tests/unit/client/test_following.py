"""Events are told once each, in order, to the end: whatever becomes of the stream."""

import json

import httpx
import pytest

from heimdall_client import JobUnsuccessful, NotFound, Unavailable, UnreadableAnswer, WaitTimedOut

QUEUED, STARTED, ENDED = (
    (number, name) for number, name in enumerate(("job.queued", "job.started", "job.succeeded"), 1)
)
STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


def frame(event: tuple[int, str]) -> bytes:
    number, name = event
    document = json.dumps({"id": f"evt_{number}", "event": name, "job_id": "job_1", "data": {}})
    return f"id: evt_{number}\nevent: {name}\ndata: {document}\n\n".encode()


class Service:
    """One job: its streams one after another, then its pages, and its state."""

    def __init__(self, pieces, states, streams, history=()):
        self._pieces, self._states, self._streams = pieces, list(states), list(streams)
        self._history = [{"id": f"evt_{n}", "event": name, "data": {}} for n, name in history]
        self.last_ids, self.etags, self.pages = [], [], []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return self._job(request)
        if "text/event-stream" not in request.headers["Accept"]:
            return self._page(request)
        self.last_ids.append(request.headers.get("Last-Event-ID"))
        stream = self._streams.pop(0) if len(self._streams) > 1 else self._streams[0]
        if isinstance(stream, Exception):
            raise stream
        if isinstance(stream, httpx.Response):
            return httpx.Response(stream.status_code, headers=stream.headers, content=stream.content)
        return httpx.Response(200, headers=STREAM, stream=self._pieces(*stream))

    def _job(self, request: httpx.Request) -> httpx.Response:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, Exception):
            raise state
        self.etags.append(request.headers.get("If-None-Match"))
        etag = f'"{state["status"]}"'
        if self.etags[-1] == etag:
            return httpx.Response(304, headers={"ETag": etag})
        return httpx.Response(200, json=state, headers={"ETag": etag, "Retry-After": "1"})

    def _page(self, request: httpx.Request) -> httpx.Response:
        after = request.url.params.get("after", "0")
        self.pages.append(after)
        number = int(after.removeprefix("evt_"))
        found = [e for e in self._history if int(e["id"][4:]) > number]
        return httpx.Response(200, json={"data": found, "next_after": found[-1]["id"] if found else after})


@pytest.fixture
def running(make_job):
    return make_job("running")


@pytest.fixture
def done(make_job):
    return make_job("succeeded")


def names(events):
    return [(int(event.id[4:]), event.event) for event in events]


def test_a_stream_is_told_to_its_terminal_event_however_it_is_cut(surface, pieces, running):
    body = b"retry: 2000\n\n: keep-alive\n\n" + frame(QUEUED) + frame(STARTED) + frame(ENDED)
    service = Service(pieces, [running], [[body[i : i + 7] for i in range(0, len(body), 7)]])
    events = surface.ask(service, "jobs.watch", "job_1")
    assert names(events) == [QUEUED, STARTED, ENDED]
    assert (service.last_ids, surface.slept) == ([None], [])


def test_a_broken_stream_goes_on_after_its_last_event(surface, pieces, running):
    broken = [frame(QUEUED), frame(STARTED)[:20], httpx.ReadError("connection reset")]
    service = Service(pieces, [running], [broken, [frame(STARTED), frame(ENDED)]])
    assert names(surface.ask(service, "jobs.watch", "job_1")) == [QUEUED, STARTED, ENDED]
    assert service.last_ids == [None, "evt_1"]


def test_a_stream_that_a_restart_of_the_service_ends_goes_on_after_the_pause_it_asked_for(
    surface, pieces, running
):
    ended_early = [b"retry: 2500\n\n", frame(QUEUED)]
    service = Service(pieces, [running], [ended_early, [frame(STARTED), frame(ENDED)]])
    assert names(surface.ask(service, "jobs.watch", "job_1")) == [QUEUED, STARTED, ENDED]
    assert surface.slept == [2.5]


def test_a_proxy_that_swallows_last_event_id_repeats_nothing_to_the_caller(surface, pieces, running):
    everything = [frame(QUEUED), frame(STARTED), frame(ENDED)]
    service = Service(pieces, [running], [[frame(QUEUED), httpx.ReadError("reset")], everything])
    assert names(surface.ask(service, "jobs.watch", "job_1")) == [QUEUED, STARTED, ENDED]


def test_a_stream_silent_beyond_its_keep_alive_counts_as_broken_and_polling_takes_over(
    surface, pieces, running, done
):
    silent = httpx.ReadTimeout("no byte for 45 s")
    history = [QUEUED, STARTED, ENDED]
    service = Service(pieces, [running] * 4 + [done], [[silent]], history)
    assert names(surface.ask(service, "jobs.watch", "job_1")) == history
    assert len(service.last_ids) == 3


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={"data": [], "next_after": "0"}),
        httpx.Response(404, json={"code": "unknown_path"}),
        httpx.Response(405, json={"code": "method_not_allowed"}),
        httpx.Response(406),
    ],
)
def test_a_service_without_streams_is_polled_with_its_etag(surface, pieces, running, done, answer):
    service = Service(pieces, [running, running, done], [answer], [QUEUED, STARTED, ENDED])
    assert names(surface.ask(service, "jobs.watch", "job_1")) == [QUEUED, STARTED, ENDED]
    assert len(service.last_ids) == 1
    assert service.etags[0] is None


def test_an_unchanged_job_is_polled_without_its_history(surface, pieces, running, done):
    no_stream = httpx.Response(406)
    service = Service(pieces, [running] * 4 + [done], [no_stream], [QUEUED])
    surface.ask(service, "jobs.watch", "job_1")
    assert service.etags == [None, '"running"', '"running"', '"running"', '"running"']
    assert service.pages == ["0", "evt_1", "evt_1"], "some, no more, and once more at the end"


def test_a_job_that_has_told_everything_ends_at_once(surface, pieces, done):
    service = Service(pieces, [done], [httpx.Response(204)])
    assert surface.ask(service, "jobs.watch", "job_1", after="evt_3") == []
    assert service.last_ids == ["evt_3"]


def test_too_many_streams_are_no_reason_to_see_nothing(surface, pieces, problem, running, done):
    full = problem(503, "too_many_streams", {"Retry-After": "5"})
    history = [QUEUED, STARTED, ENDED]
    service = Service(pieces, [running] * 4 + [done], [full], history)
    assert names(surface.ask(service, "jobs.watch", "job_1")) == history


def test_a_terminal_event_of_a_newer_service_ends_the_watch_too(surface, pieces, make_job):
    expired = (4, "job.expired")
    job = make_job("expired") | {"is_terminal": True}
    service = Service(pieces, [job], [[frame(QUEUED), frame(expired)]], [QUEUED, expired])
    assert names(surface.ask(service, "jobs.watch", "job_1")) == [QUEUED, expired]


def test_a_job_that_is_not_there_is_not_waited_for(surface, pieces, problem, done):
    service = Service(pieces, [done], [problem(404, "job_not_found")])
    with pytest.raises(NotFound):
        surface.ask(service, "jobs.watch", "job_1")


def test_a_service_that_stays_away_ends_the_watch_after_minutes(surface, pieces):
    away = httpx.ConnectError("refused")
    with pytest.raises(Unavailable, match="refused"):
        surface.ask(Service(pieces, [away], [away]), "jobs.watch", "job_1")
    assert 300 < surface.now < 400


def test_a_frame_that_is_none_of_this_api_is_said_to_be_so(surface, pieces, running):
    service = Service(pieces, [running], [[b"data: <html>\n\n"]])
    with pytest.raises(UnreadableAnswer):
        surface.ask(service, "jobs.watch", "job_1")


def test_leaving_a_watch_closes_its_stream(surface, pieces, running):
    service = Service(pieces, [running], [[frame(QUEUED), frame(STARTED)]])
    assert names(surface.ask(service, "jobs.watch", "job_1", take=1)) == [QUEUED]


def test_everything_is_watched_without_end_and_over_breaks(surface, pieces):
    service = Service(pieces, [], [[frame(QUEUED), frame(ENDED)], [frame((9, "model.promoted"))]])
    assert names(surface.ask(service, "events.watch", take=3)) == [QUEUED, ENDED, (9, "model.promoted")]
    assert service.last_ids == [None, "evt_3"]


def test_a_filter_is_sent_to_the_stream_and_to_the_pages(surface, script):
    page = httpx.Response(200, json={"data": [{"id": "evt_1", "event": "job.failed"}], "next_after": "evt_1"})
    service = script(httpx.Response(406), page)
    surface.ask(service, "events.watch", after="0", names=["job.*"], kinds=["train"], model="m", take=1)
    wanted = [("name", "job.*"), ("kind", "train"), ("model", "m")]
    assert [r.url.params.multi_items() for r in service.requests] == [
        wanted,
        [("limit", "500"), *wanted, ("after", "0")],
    ]
    assert service.requests[0].headers["Last-Event-ID"] == "0"


def test_everything_polled_begins_with_what_happens_next(surface, pieces):
    def happens_later(request):
        answer = service(request)
        if len(service.pages) == 3:
            service._history.append({"id": "evt_9", "event": "model.promoted", "data": {}})
        return answer

    service = Service(pieces, [], [httpx.Response(406)], [QUEUED, ENDED])
    assert names(surface.ask(happens_later, "events.watch", take=1)) == [(9, "model.promoted")]


def test_an_unchanged_job_costs_a_304_while_it_is_waited_for(surface, pieces, running, done):
    service = Service(pieces, [running, running, running, done], [])
    assert surface.ask(service, "jobs.wait", "job_1").status == "succeeded"
    assert service.etags == [None, '"running"', '"running"', '"running"']
    assert surface.slept == [1.0, 1.0, 1.0]


def test_a_restart_of_the_service_does_not_end_a_wait(surface, pieces, running, done):
    away = httpx.ConnectError("refused")
    service = Service(pieces, [running] + [away] * 20 + [done], [])
    assert surface.ask(service, "jobs.wait", "job_1").is_successful


def test_a_wait_ends_in_time_and_says_where_the_job_stands(surface, pieces, running):
    with pytest.raises(WaitTimedOut, match=r"job job_1 is still running after 3\.5 s") as caught:
        surface.ask(Service(pieces, [running], []), "jobs.wait", "job_1", timeout=3.5)
    assert surface.now == pytest.approx(3.5)
    assert caught.value.job.status == "running"


def test_a_wait_for_a_service_that_never_answers_ends_in_its_silence(surface, pieces):
    with pytest.raises(Unavailable):
        surface.ask(Service(pieces, [httpx.ConnectError("refused")], []), "jobs.wait", "job_1", timeout=5)


def test_a_failed_job_raises_its_own_error_unless_it_is_not_to(surface, pieces, make_job):
    error = {"code": "storage_unavailable", "message": "S3 does not answer", "hint": "start it"}
    service = Service(pieces, [make_job("failed", error=error)], [])
    with pytest.raises(JobUnsuccessful, match="train job job_1 failed: S3 does not answer") as caught:
        surface.ask(service, "jobs.wait", "job_1")
    assert (caught.value.code, caught.value.hint) == ("storage_unavailable", "start it")
    assert surface.ask(service, "jobs.wait", "job_1", check=False).status == "failed"
