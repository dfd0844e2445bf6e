"""The pages for people keep to themselves who is not signed in."""

import pytest

from api.dashboard.views import format_duration


@pytest.mark.parametrize("path", ["/", "/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa"])
def test_a_stranger_is_sent_to_sign_in(client, path):
    response = client.get(path, follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"] == "/sign-in"


def test_what_is_no_key_does_not_sign_in(client):
    response = client.post("/sign-in", data={"key": "<script>"}, follow_redirects=False)
    assert response.status_code == 401
    assert "set-cookie" not in response.headers
    assert "<script>" not in response.text


def test_signing_out_forgets_the_key(client):
    response = client.post("/sign-out", follow_redirects=False)
    assert 'heimdall_key=""' in response.headers["set-cookie"]
    assert "Max-Age=0" in response.headers["set-cookie"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (0, "0 s"), (61.9, "1 min 1 s"), (7200, "2 h"), (90_061, "1 d 1 h")]
)
def test_durations_show_their_two_largest_units(seconds, text):
    assert format_duration(seconds) == text
