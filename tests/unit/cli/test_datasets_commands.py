"""What is asked of the API for the options of a command, and how its answer reads at 80 columns."""

import json

import httpx
import pytest
from typer.testing import CliRunner

from heimdall_core.cli import dataset_report, datasets_commands
from heimdall_core.cli.client import ApiClient
from heimdall_core.cli.dataset_options import parse_frequency
from heimdall_core.domain.errors import InvalidRequest

PREVIEW = {
    "sessions": 1200,
    "recordings": 7001,
    "sources": 3,
    "positions": 40,
    "receivers": [
        {"name": "[bold]aosta", "recordings": 1200, "median_snr_db": 12.345},
        {"name": "genoa", "recordings": 1, "median_snr_db": None},
    ],
    "heard_by": [{"receivers": 1, "sessions": 200}, {"receivers": 2, "sessions": 1000}],
    "snr": {
        "bins": [
            {"from_db": -5, "to_db": 0, "recordings": 10},
            {"from_db": 10, "to_db": 15, "recordings": 990},
        ],
        "unknown": 4,
    },
    "frequencies": [{"frequency_hz": 145.5e6, "sessions": 1200}],
    "num_frequencies": 31,
    "time_range": {"first": "2025-05-01T00:00:00Z", "last": "2025-06-01T00:00:00Z"},
    "bounding_box": {
        "min_latitude": 44.0,
        "max_latitude": 46.0,
        "min_longitude": 6.0,
        "max_longitude": 9.0,
    },
    "splits": {
        "train": {"sessions": 800, "units": 20, "positions": 28},
        "val": {"sessions": 200, "units": 5, "positions": 6},
        "test": {"sessions": 200, "units": 6, "positions": 6},
    },
    "separation": {
        "val": {"smallest_m": 12345.6, "p10_m": 15000.0, "median_m": 20000.0, "shared_positions": 0},
        "test": {"smallest_m": 40.0, "p10_m": 90.0, "median_m": 700.0, "shared_positions": 2},
    },
    "units": 31,
    "left_out": {
        "pending": 1,
        "rejected": 2,
        "approved": 0,
        "no_recordings": 0,
        "unverified_iq": 3,
        "too_few_receivers": 0,
        "below_min_snr": 5,
    },
    "recordings_left_out": {"unverified": 7, "repeated": 0},
    "duplicates": {"sessions": 2, "across_splits": 2, "session_ids": ["11111111", "22222222"]},
    "problems": [],
    "would_create_version": 4,
    "same_as_version": None,
}
VERSION = {
    "name": "northwest",
    "version": 2,
    "digest": "d" * 64,
    "counts": {"train": 8, "val": 2, "test": 2, "recordings": 36, "units": 5},
    "receivers": [{"name": "aosta", "latitude": 45.74, "longitude": 7.32, "altitude_m": 580.0}],
    "query": {
        "started_after": None,
        "region": {"box": None, "circle": {"latitude": 45.0, "longitude": 7.0, "radius_km": 10.0}},
        "session_ids": [f"id-{n}" for n in range(12)],
    },
    "split": {"strategy": "spatial_block", "block_km": 20.0, "test_groups": None},
    "manifest": {"uri": "s3://models/datasets/northwest/d.json"},
    "created_by": "ann",
    "created_at": "2025-06-01T00:00:00Z",
    "created": True,
}


class Api:
    """Answers every call, and keeps what was sent."""

    def __init__(self):
        self.answers = {"/v1/datasets:preview": PREVIEW, "/v1/datasets": VERSION}
        self.path, self.body = None, None

    def __call__(self, request):
        self.path = request.url.path
        self.body = json.loads(request.content) if request.content else None
        return httpx.Response(200, json=self.answers.get(self.path, VERSION))


@pytest.fixture
def api(monkeypatch):
    answering = Api()
    monkeypatch.setattr(
        datasets_commands,
        "connect",
        lambda **_: ApiClient("http://api.test", "key", transport=httpx.MockTransport(answering)),
    )
    monkeypatch.setattr(dataset_report.console, "width", 80)
    return answering


def run(*arguments, exit_code=0, stdin=None):
    result = CliRunner().invoke(datasets_commands.app, list(arguments), input=stdin)
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--after", "2025-05-01T00:00"), "no zone"),
        (("--before", "yesterday"), "is no time"),
        (("--min-frequency", "145.5.1M"), "is no frequency"),
        (("--max-frequency", "-3"), "is no frequency"),
        (("--box", "1,2,3"), "S,W,N,E"),
        (("--circle", "45,east,3"), "LAT,LON,KM"),
        (("--box", "1,2,3,4", "--circle", "1,2,3"), "not both"),
        (("--split", "group", "--block-km", "5"), "--block-km"),
        (("--test-group", "a", "--test-fraction", "0.2"), "--test-fraction"),
        (("--status", "maybe"), "maybe"),
        (("--split", "random"), "random"),
    ],
)
def test_an_option_that_cannot_be_meant_is_wrong_usage(api, monkeypatch, arguments, message):
    monkeypatch.setenv("COLUMNS", "200")
    assert message in run("preview", "n", *arguments, exit_code=2)
    assert api.path is None


def test_pending_sessions_cannot_be_asked_of_create(api):
    run("create", "n", "--status", "pending", exit_code=2)


def test_a_dataset_must_be_named_somewhere(api, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "name the dataset" in run("preview", "--seed", "1", exit_code=2)


def test_nothing_is_sent_that_was_not_given(api):
    run("create", "northwest")
    assert (api.path, api.body) == ("/v1/datasets", {"name": "northwest"})


def test_every_option_becomes_its_member(api):
    run(
        *("preview", "northwest", "--after", "2025-05-01T00:00Z", "--before", "2025-06-01T00:00+02:00"),
        *("--min-frequency", "144M", "--max-frequency", "433.5e6", "--box", "-44,6,46,9"),
        *("--receiver", "aosta", "--receiver", "genoa", "--min-receivers", "2", "--min-snr", "-3.5"),
        *("--source", "beacon", "--import-job", "job_a", "--session", "id-1", "--status", "pending"),
        *("--split", "spatial_block", "--block-km", "10", "--test-fraction", "0.3", "--val-fraction", "0.1"),
        *("--seed", "7"),
    )
    assert api.path == "/v1/datasets:preview"
    assert api.body["query"] == {
        "started_after": "2025-05-01T00:00:00+00:00",
        "started_before": "2025-06-01T00:00:00+02:00",
        "min_frequency_hz": 144e6,
        "max_frequency_hz": 433.5e6,
        "region": {"box": {"min_latitude": -44, "min_longitude": 6, "max_latitude": 46, "max_longitude": 9}},
        "receivers": ["aosta", "genoa"],
        "min_receivers": 2,
        "min_snr_db": -3.5,
        "sources": ["beacon"],
        "import_job_ids": ["job_a"],
        "session_ids": ["id-1"],
        "approval_status": ["pending"],
    }
    assert api.body["split"] == {
        "strategy": "spatial_block",
        "block_km": 10,
        "test_fraction": 0.3,
        "val_fraction": 0.1,
        "seed": 7,
    }


def test_units_are_named_and_circles_drawn(api):
    run("create", "n", "--split", "group", "--test-group", "0", "--val-group", "1", "--circle", "45,7,10")
    assert api.body["split"] == {"strategy": "group", "test_groups": ["0"], "val_groups": ["1"]}
    assert api.body["query"]["region"]["circle"] == {"latitude": 45, "longitude": 7, "radius_km": 10}


def test_options_change_the_members_of_a_file(api, tmp_path):
    file = tmp_path / "query.json"
    file.write_text(
        '{"name": "north", "query": {"min_receivers": 3, "sources": ["a"]}, "split": {"seed": 1}}'
    )
    run("create", "--query", str(file), "--min-receivers", "2")
    assert api.body == {
        "name": "north",
        "query": {"min_receivers": 2, "sources": ["a"]},
        "split": {"seed": 1},
    }
    run("preview", "south", "--query", "-", stdin=file.read_text())
    assert api.body["name"] == "south"


@pytest.mark.parametrize("content", ["[]", "{", None])
def test_a_file_without_a_definition_is_refused(api, tmp_path, content):
    file = tmp_path / "query.json"
    if content is not None:
        file.write_text(content)
    result = CliRunner().invoke(datasets_commands.app, ["preview", "n", "--query", str(file)])
    assert isinstance(result.exception, InvalidRequest)


@pytest.mark.parametrize(
    ("text", "hertz"),
    [("145.5M", 145.5e6), ("433.5e6", 433.5e6), ("145500 kHz", 145.5e6), ("2.4G", 2.4e9), ("100", 100)],
)
def test_frequencies_are_read_as_people_write_them(text, hertz):
    assert parse_frequency(text) == pytest.approx(hertz)


def test_a_preview_fits_into_80_columns_and_says_everything(api):
    shown = run("preview", "northwest")
    assert max(len(line) for line in shown.splitlines()) <= 80
    for said in (
        "northwest would hold 1,200 sessions and 7,001 recordings",
        "[bold]aosta",
        "12.3 dB",
        "unknown",
        "1 receiver ",
        "   0 to   5 dB",
        "145.5 MHz",
        "and 30 more frequencies",
        "3 sessions have only IQ without a checksum",
        "7 recordings cannot be verified",
        "2 of them across splits",
        "22222222",
        "would make it version 4",
    ):
        assert said in shown


def test_a_preview_that_could_not_be_frozen_says_why_field_by_field(api):
    problem = {"pointer": "#/split", "detail": "the test split would be empty " * 5, "code": "bad_split"}
    nothing = {"splits": None, "problems": [problem], "would_create_version": None}
    api.answers["/v1/datasets:preview"] = PREVIEW | nothing
    shown = run("preview", "northwest")
    assert "freezing would fail" in shown
    assert "#/split  the test split" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_preview_of_nothing_is_shown(api):
    empty = {
        "sessions": 0,
        "recordings": 0,
        "receivers": [],
        "heard_by": [],
        "snr": {"bins": [], "unknown": 0},
        "frequencies": [],
        "num_frequencies": 0,
        "time_range": None,
        "bounding_box": None,
        "splits": None,
        "same_as_version": 3,
    }
    api.answers["/v1/datasets:preview"] = PREVIEW | empty
    assert "version 3 holds exactly this" in run("preview", "northwest")


def test_bins_far_apart_are_not_filled_up(api):
    far = [
        {"from_db": -1_000_000, "to_db": -999_995, "recordings": 1},
        {"from_db": 0, "to_db": 5, "recordings": 1},
    ]
    api.answers["/v1/datasets:preview"] = PREVIEW | {"snr": {"bins": far, "unknown": 0}}
    assert len(run("preview", "northwest").splitlines()) < 60


def test_creating_says_when_the_content_was_there_already(api):
    assert "none was made" not in run("create", "northwest")
    api.answers["/v1/datasets"] = VERSION | {"created": False}
    shown = run("create", "northwest")
    assert "northwest version 2: 8 training" in shown
    assert "none was made" in shown


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (("northwest",), "/v1/datasets/northwest"),
        (("northwest", "2"), "/v1/datasets/northwest/versions/2"),
        (("northwest/2",), "/v1/datasets/northwest/versions/2"),
    ],
)
def test_a_version_is_named_in_three_ways(api, arguments, path):
    shown = run("show", *arguments)
    assert api.path == path
    for said in ("northwest version 2", "aosta", "query.region.circle.radius_km  10.0", "(12 in all)"):
        assert said in shown
    assert json.loads(run("show", *arguments, "--json")) == VERSION


@pytest.mark.parametrize("arguments", [("northwest/2", "3"), ("northwest/latest",)])
def test_a_version_named_twice_or_by_a_word_is_refused(api, arguments):
    result = CliRunner().invoke(datasets_commands.app, ["show", *arguments])
    assert isinstance(result.exception, InvalidRequest)


def test_json_is_the_answer_itself(api):
    assert json.loads(run("preview", "northwest", "--json")) == PREVIEW
    assert json.loads(run("create", "northwest", "--json")) == VERSION


def test_a_version_shows_what_it_holds_and_how_near_test_comes_to_train(api):
    names = ("sessions", "recordings", "sources", "positions", "receivers", "heard_by", "snr", "frequencies")
    more = ("num_frequencies", "time_range", "bounding_box", "splits", "separation")
    api.answers["/v1/datasets/northwest"] = VERSION | {
        "statistics": {name: PREVIEW[name] for name in (*names, *more)}
    }
    said = run("show", "northwest")
    assert "of test positions" in said
    assert "40 m" in said
    assert "10 to  15 dB" in said
    assert "median SNR" in said


def test_a_version_that_was_frozen_before_statistics_were_kept_shows_its_splits(api):
    api.answers["/v1/datasets/northwest"] = VERSION | {"statistics": None}
    assert "train" in run("show", "northwest")
