"""Who gets in, who does not, and what each may do there."""

import re

from playwright.sync_api import expect

ACTIONS = (
    *("Approve", "Cancel", "Clone", "Drain", "Finish", "New", "Pause", "Promote", "Reject"),
    *("Resume", "Retry", "Roll back", "Train again"),
)


def test_a_wrong_key_is_refused_with_a_reason_and_opens_nothing(open_window):
    window = open_window(key=None)
    window.page.goto("/models")
    expect(window.page).to_have_url(f"{window.url}/sign-in?next=%2Fmodels")
    window.page.get_by_label("API key").fill("hmd_wrong")
    window.page.get_by_role("button", name="Sign in").click()
    expect(window.page.get_by_role("alert")).not_to_be_empty()
    expect(window.page.get_by_label("API key")).to_have_attribute("aria-invalid", "true")
    assert window.grave_findings() == []
    window.picture("sign-in-refused")
    assert window.context.cookies() == []
    assert window.forgive("401") != []


def test_a_person_comes_to_the_page_that_was_asked_for_and_goes(open_window, service):
    window = open_window(key=None)
    window.page.goto("/jobs/new?kind=evaluate")
    window.page.get_by_label("API key").fill(service.key)
    window.page.keyboard.press("Enter")
    expect(window.page).to_have_url(f"{window.url}/jobs/new?kind=evaluate")
    (cookie,) = window.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert "hmd_" not in cookie["value"]
    window.page.get_by_text("Signed in as").locator("xpath=ancestor::summary").click()
    window.page.get_by_role("button", name="Sign out").click()
    expect(window.page).to_have_url(f"{window.url}/sign-in")
    window.page.goto("/")
    expect(window.page).to_have_url(f"{window.url}/sign-in")


def test_a_session_ends_with_its_key(open_window, service):
    made = service.heimdall.api_keys.create("short", scopes=["jobs:read"])
    window = open_window(key=made.key)
    window.page.goto("about:blank")  # the page left behind would be told first, and go to sign in by itself
    service.heimdall.api_keys.revoke(made.id)
    window.page.goto("/fleet")
    expect(window.page).to_have_url(f"{window.url}/sign-in?next=%2Ffleet")
    window.forgive("401")


def test_another_site_cannot_send_a_form_or_a_call(open_window, service):
    window = open_window()
    answer = window.context.request.post(
        "/v1/jobs",
        data={"kind": "train", "dataset": {"name": "tiny"}},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status == 403
    answer = window.context.request.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status == 403
    window.show("/fleet")
    expect(window.page).to_have_url(f"{window.url}/fleet")


def test_who_may_only_look_is_offered_nothing_else(open_window, service, trained):
    key = service.new_key("looker", "jobs:read:all", "models:read", "datasets:read", "recordings:read")
    window = open_window(key=key)
    for path in (
        "/",
        f"/jobs/{trained[0].id}",
        "/models/localization",
        "/fleet",
        "/recordings",
        "/datasets",
    ):
        window.show(path)
        assert [*offered(window.page)] == [], path
    window.show("/jobs/new")
    expect(window.page.get_by_role("button", name="Queue the job")).to_be_disabled()
    expect(window.page.get_by_text("Your key may look at jobs")).to_be_visible()


def offered(page):
    """What changes something, by the words that it has."""
    for word in ACTIONS:
        name = re.compile(rf"^{word}\b")
        for found in page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).all():
            if found.is_visible() and found.is_enabled():
                yield found.evaluate("(one) => one.outerHTML")


def test_a_person_sees_only_the_areas_of_the_key(open_window, service):
    window = open_window(key=service.new_key("jobs only", "jobs:read"))
    window.show("/")
    areas = window.page.get_by_role("navigation", name="Areas").get_by_role("link")
    assert areas.all_inner_texts() == ["Jobs", "Workers"]
