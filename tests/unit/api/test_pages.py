"""The pages for people keep to themselves who is not signed in."""

from html import escape

import pytest

from api.dashboard.pages import local_path


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/", "/sign-in"),
        ("/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa", "/sign-in?next=%2Fjobs%2Fjob_aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("/?status=failed&kind=train", "/sign-in?next=%2F%3Fstatus%3Dfailed%26kind%3Dtrain"),
    ],
)
def test_a_stranger_is_sent_to_sign_in_and_comes_back(client, path, place):
    response = client.get(path, follow_redirects=False)
    assert response.status_code == 303
    assert response.headers["location"] == place
    assert f'value="{escape(path)}"' in client.get(place).text or path == "/"


def test_a_link_of_another_site_is_followed_again_from_a_page_of_ours(client):
    """The browser keeps a strict cookie back at first: the form would show to somebody who is signed in."""
    arrival = client.get("/jobs/job_a?tab=log&x=<b>", headers={"Sec-Fetch-Site": "cross-site"})
    assert arrival.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/jobs/job_a?tab=log&amp;x=%3Cb%3E"' in arrival.text
    again = {"Sec-Fetch-Site": "same-origin"}
    assert client.get("/jobs/job_a", headers=again, follow_redirects=False).status_code == 303
    elsewhere = client.get("//evil.example", headers={"Sec-Fetch-Site": "cross-site"})
    assert "evil" not in elsewhere.text or elsewhere.status_code == 404


def test_what_is_no_key_does_not_sign_in(client):
    response = client.post("/sign-in", data={"key": "<script>"}, follow_redirects=False)
    assert response.status_code == 401
    assert "set-cookie" not in response.headers
    assert "<script>" not in response.text


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        " //evil.example",
        "javascript:alert(1)",
        "evil.example",
        "",
        "/" + "a" * 3000,
        "/ä",
    ],
)
def test_signing_in_leads_nowhere_but_to_a_page_of_ours(text):
    assert local_path(text) == "/"


@pytest.mark.parametrize("text", ["/", "/jobs/job_a?tab=log#end", "/models/a/compare?a=1&b=2", "/a//b"])
def test_signing_in_leads_back_to_the_page_that_was_asked_for(text):
    assert local_path(text) == text


def test_a_page_may_load_run_and_frame_nothing_but_its_own(client):
    headers = client.get("/sign-in").headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(("path", "status"), [("/nothing/<b>", 404), ("/", 503)])
def test_a_browser_is_told_on_a_page_what_is_wrong_and_a_program_in_a_document(client, path, status):
    client.cookies.set("heimdall_session", "A" * 43)
    page = client.get(path, headers={"Accept": "text/html,*/*"})
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert "<b>" not in page.text
    assert client.get(path).headers["content-type"] == "application/problem+json"
    of_api = client.get("/v1/nothing", headers={"Accept": "text/html"})
    assert of_api.headers["content-type"] == "application/problem+json"


def test_what_is_no_page_runs_nothing_when_a_browser_opens_it(client):
    for path in ("/livez", "/v1/jobs", "/nothing"):
        assert client.get(path).headers["content-security-policy"].endswith("; sandbox")
