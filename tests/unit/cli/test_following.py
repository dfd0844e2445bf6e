from itertools import pairwise

import httpx
import pytest

from heimdall_core.cli import following
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.errors import JobUnsuccessful, ServerUnreachable
from heimdall_core.cli.following import describe, event_line, follow, phase_of

RUNNING = {
    "id": "job_1",
    "kind": "train",
    "status": "running",
    "is_terminal": False,
    "phase": "training",
    "progress": {"percent": 40.0, "epoch": 2, "epochs": 5, "samples_per_second": 512.4, "eta_seconds": 65},
    "metrics": {"val_loss": 1.9312, "val_median_error_m": 8123.0},
    "error": None,
}
DONE = {**RUNNING, "status": "succeeded", "is_terminal": True, "phase": None}
FAILED = {
    **RUNNING,
    "status": "failed",
    "is_terminal": True,
    "error": {"code": "storage_unavailable", "message": "S3 does not answer", "hint": "start it"},
}


CURVES = {
    "val_loss": [{"epoch": n, "step": n, "value": 3.0 / n} for n in range(1, 5)],
    "val_median_error_m": [{"epoch": n, "step": n, "value": 9000.0 / n} for n in range(1, 5)],
}


class Server:
    """Answers with one state of the job after another; None: it is away."""

    def __init__(self, *states):
        self.states = list(states)
        self.after = []
        self.metrics_asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/metrics"):
            self.metrics_asked += 1
            return httpx.Response(200, json={"metrics": CURVES})
        if request.url.path.endswith("/events"):
            self.after.append(int(request.url.params["after"].removeprefix("evt_")))
            number = len(self.after)
            event = {"id": f"evt_{number}", "event": "first_step", "data": {"seconds_since_start": 0.25}}
            return httpx.Response(200, json={"data": [event], "next_after": number})
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, json=state)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)


def run(server: Server, *, quiet: bool = False):
    with ApiClient("http://127.0.0.1:1", "k", transport=httpx.MockTransport(server)) as client:
        return follow(client, "job_1", quiet=quiet)


def test_a_failed_job_ends_in_its_error_and_hint():
    with pytest.raises(
        JobUnsuccessful, match=r"failed: S3 does not answer \(storage_unavailable\)"
    ) as caught:
        run(Server(RUNNING, FAILED))
    assert caught.value.hint == "start it"


def test_a_cancelled_job_points_to_its_log():
    with pytest.raises(JobUnsuccessful, match="job cancelled") as caught:
        run(Server({**FAILED, "status": "cancelled", "error": None}))
    assert "heimdall jobs logs job_1" in caught.value.hint


def test_an_api_that_stays_away_ends_the_following(monkeypatch):
    monkeypatch.setattr(following, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(ServerUnreachable):
        run(Server(None))


def test_an_api_that_comes_back_is_followed_on():
    assert run(Server(RUNNING, None, None, DONE)) == DONE


def test_each_event_is_asked_for_once(capsys):
    server = Server(RUNNING, RUNNING, DONE)
    run(server)
    assert all(later == earlier + 1 for earlier, later in pairwise(server.after))
    assert capsys.readouterr().out.count("first training step 0.25 s") == len(server.after)


def test_an_unchanged_job_costs_a_304_and_its_history_is_asked_for_now_and_then(monkeypatch):
    monkeypatch.setattr(following, "UNCHANGED_POLLS", 3)
    server, polls = Server(RUNNING), []

    def unchanged(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/v1/jobs/job_1":
            return server(request)
        polls.append(request.headers.get("If-None-Match"))
        if len(polls) == 9:
            return httpx.Response(200, json=DONE, headers={"ETag": '"2"'})
        status = 200 if len(polls) == 1 else 304
        return httpx.Response(status, json=RUNNING if status == 200 else None, headers={"ETag": '"1"'})

    assert run(unchanged) == DONE
    assert polls == [None] + ['"1"'] * 8
    assert len(server.after) == 4, "at both changes, and at every third poll between them"


def test_without_a_terminal_there_is_one_line_per_change(capsys):
    run(Server(RUNNING, RUNNING, RUNNING, DONE))
    lines = [line for line in capsys.readouterr().out.splitlines() if "epoch 2/5" in line]
    assert len(lines) == 2
    assert "loss 1.931  median error 8,123 m  512 samples/s  1:05 left" in lines[0]


def test_quiet_following_prints_nothing(capsys):
    run(Server(RUNNING, DONE), quiet=True)
    assert capsys.readouterr().out == ""


def test_on_a_terminal_there_is_a_bar(monkeypatch, capsys):
    from rich.console import Console

    monkeypatch.setattr(following, "console", Console(force_terminal=True, highlight=False, width=120))
    server = Server(RUNNING, RUNNING, DONE)
    run(server)
    out = capsys.readouterr().out
    assert "training" in out
    assert server.metrics_asked == 2, "once for the epoch, once at the end"
    *_, loss, _, error, _ = out.rstrip().splitlines()
    assert "0.750, least 0.750 at epoch 4" in loss
    assert "2,250 m, least 2,250 m at epoch 4" in error


def test_without_a_terminal_the_curves_are_told_in_words_at_the_end(capsys):
    server = Server(RUNNING, RUNNING, DONE)
    run(server)
    out = capsys.readouterr().out
    assert "  loss         0.750, least 0.750 at epoch 4\n  median error 2,250 m, least" in out
    assert out.isascii()
    assert server.metrics_asked == 1


@pytest.mark.parametrize("job", [DONE | {"kind": "import"}, DONE | {"kind": "evaluate"}])
def test_only_a_training_has_curves(job):
    server = Server(job)
    run(server)
    assert server.metrics_asked == 0


@pytest.mark.parametrize(
    ("job", "phase"),
    [
        ({"status": "queued", "queue": {"position": 3}}, "queued (3)"),
        ({"status": "queued", "queue": None}, "queued"),
        ({"status": "running", "phase": "exporting"}, "exporting"),
        ({"status": "running", "phase": None}, "running"),
        ({"status": "cancelled", "phase": "training"}, "cancelled"),
    ],
)
def test_the_phase_in_one_word(job, phase):
    assert phase_of(job) == phase


def test_nothing_is_said_of_what_is_not_known():
    assert describe({"progress": None, "metrics": {}}) == ""


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"event": "job.phase", "data": {"phase": "training"}}, None),
        ({"event": "checkpoint.durable", "data": {"epoch": 3}}, "  checkpoint of epoch 3 is durable"),
        (
            {"event": "training_finished", "data": {"epochs": 5, "steps": 40, "best_epoch": 4}},
            "  trained 5 epochs, 40 steps; kept the weights of epoch 4",
        ),
        ({"event": "something_new", "data": {"a": 0.123456, "b": None}}, "  something new  a 0.1235"),
        ({"event": "checkpoint.durable", "data": {"x": 1}}, "  checkpoint.durable  x 1"),
    ],
)
def test_events_as_lines(event, line):
    assert event_line(event) == line
