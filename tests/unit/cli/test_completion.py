import httpx
import pytest

from heimdall_core.cli import completion
from heimdall_core.cli.client import ApiClient

ANSWERS = {
    "/v1/jobs": [{"id": "job_a", "kind": "train", "status": "running"}],
    "/v1/datasets": [{"name": "northwest", "version": 3}],
    "/v1/models": [
        {"name": "localization", "champion_version": 2},
        {"name": "new", "champion_version": None},
    ],
    "/v1/models/localization/versions": [
        {"name": "localization", "version": 2, "aliases": ["champion"], "job_id": "job_a"},
        {"name": "localization", "version": 1, "aliases": [], "job_id": "job_b"},
    ],
    "/v1/recording-sessions": [{"id": "0196", "name": "first"}],
}


@pytest.fixture
def service(monkeypatch):
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": ANSWERS[request.url.path]})

    def connect(**_: object) -> ApiClient:
        return ApiClient("http://service", "hmd_key", transport=httpx.MockTransport(answer))

    monkeypatch.setattr(completion, "connect", connect)


@pytest.mark.parametrize(
    ("complete", "typed", "found"),
    [
        (completion.job_ids, "job", [("job_a", "train running")]),
        (completion.dataset_names, "n", [("northwest", "newest version 3")]),
        (completion.dataset_names, "x", []),
        (completion.model_names, "", [("localization", "champion 2"), ("new", "no champion")]),
        (
            completion.model_names,
            "localization/",
            [("localization/2", "champion"), ("localization/1", "job_b")],
        ),
        (completion.session_ids, "01", [("0196", "first")]),
    ],
)
def test_what_begins_so_is_offered_with_what_it_is(service, complete, typed, found):
    assert complete(typed) == found


def test_an_unknown_model_has_no_versions_to_offer(service):
    assert completion.model_names("nosuch/") == []


def test_without_a_service_nothing_is_offered_and_nothing_said(capsys, monkeypatch):
    assert completion.job_ids("") == []
    monkeypatch.setenv("HEIMDALL_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HEIMDALL_API_KEY", "hmd_key")
    assert completion.model_names("") == []
    assert capsys.readouterr() == ("", "")
